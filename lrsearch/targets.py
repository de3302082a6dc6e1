"""The user's own code, named by a dotted path such as `mypkg.Net`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrsearch.errors import UserError
from lrsearch.hints import unknown


def load_target(dotted: str, what: str) -> Any:
    """What a dotted path names; the working directory is importable.

    Raises UserError, beginning with `what`, if there is no such module or attribute. An error
    inside the user's module is raised as it is.
    """
    path, _, name = dotted.rpartition(".")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise
        raise UserError(
            f"{what}: there is no module {error.name!r} (for {dotted}); modules are looked for in "
            f"the working directory {here} and among what is installed"
        ) from None
    if not hasattr(module, name):
        public = [one for one in vars(module) if not one.startswith("_")]
        raise UserError(f"{what}: in module {path}, {unknown(name, public)}")
    return getattr(module, name)


def check_arguments(function: Any, arguments: Mapping[str, Any], what: str) -> None:
    """Raises UserError for arguments that the function does not take, with the valid ones."""
    parameters = inspect.signature(function).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return
    wrong = [name for name in arguments if name not in parameters]
    if wrong:
        raise UserError("\n".join(f"{what}.{name}: {unknown(name, parameters)}" for name in wrong))
