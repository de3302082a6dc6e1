"""The user's own code, named by a dotted path such as `mypkg.Net`."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lrsearch.errors import OwnCodeError, UserError
from lrsearch.hints import unknown


def load_target(dotted: str, what: str) -> Any:
    """What a dotted path names; the working directory is importable.

    Raises UserError, beginning with `what`, if there is no such module or attribute. An error
    inside the user's module is raised as it is.
    """
    path, _, name = dotted.rpartition(".")
    if not path or dotted.startswith("."):
        raise UserError(f"{what}: {dotted!r} is not a dotted path such as mypkg.{name}")
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


def check_arguments(
    function: Any,
    arguments: Mapping[str, Any],
    what: str,
    offered: Collection[str] = (),
    reserved: Collection[str] = (),
) -> None:
    """Raises UserError for arguments that a function does not take, or needs and is not given.

    `offered` are the names that lrsearch itself can give, `reserved` those of its own settings.
    """
    if not callable(function):
        raise UserError(f"{what}: {function!r} cannot be called")
    parameters = inspect.signature(function).parameters
    called = getattr(function, "__name__", repr(function))
    free = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    problems = [
        f"{what}.{name}: {unknown(name, parameters)}"
        for name in arguments
        if name not in parameters and not free
    ]
    problems += [
        f"{what}.{name} is missing: {called} needs it"
        if name not in reserved
        else f"{what}.{name} is a setting of lrsearch: call the argument of {called} otherwise"
        for name, one in parameters.items()
        if one.default is one.empty
        and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        and name not in arguments
        and name not in offered
    ]
    if problems:
        raise UserError("\n".join(problems))


def call_own(function: Any, dotted: str, *positional: Any, **arguments: Any) -> Any:
    """Calls the user's function. Raises OwnCodeError with the traceback from its own frames on."""
    try:
        return function(*positional, **arguments)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - the user's code can raise anything
        own = error.__traceback__.tb_next if error.__traceback__ else None
        lines = traceback.format_exception(type(error), error, own)
        raise OwnCodeError(f"{dotted} failed:\n{''.join(lines).rstrip()}") from None
