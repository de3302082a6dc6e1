"""The user's own code by its dotted path, `mypkg.module.name`."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from types import ModuleType
from typing import Any

from lrsearch.errors import UserError


def load_target(dotted: str, what: str) -> Any:
    """The object that `dotted` ("mypkg.load", "mypkg.Net") names.

    `what` is the setting it comes from ("data.target"), for the messages. The working directory
    is importable: it is put on `sys.path` if it is missing there.

    Raises UserError when the module or the name in it does not exist or does not import.
    """
    names = dotted.split(".")
    if len(names) < 2 or not all(name.isidentifier() for name in names):
        raise UserError(f"{what}: {dotted!r} is no dotted path; write module.name, as mypkg.load")
    _make_working_directory_importable()
    module, rest = _import_longest(names, what)
    found: Any = module
    for name in rest:
        if not hasattr(found, name):
            raise UserError(f"{what}: {_missing(found, name)}")
        found = getattr(found, name)
    return found


def _make_working_directory_importable() -> None:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()  # the user may have written the module a moment ago


def _import_longest(names: list[str], what: str) -> tuple[ModuleType, list[str]]:
    """The longest prefix of `names` that is a module, and the names that are left."""
    for end in range(len(names) - 1, 0, -1):
        module = ".".join(names[:end])
        try:
            return importlib.import_module(module), names[end:]
        except ModuleNotFoundError as error:
            if error.name is not None and f"{module}.".startswith(f"{error.name}."):
                continue  # this prefix is no module; a shorter one may be
            raise UserError(f"{what}: importing {module} failed: {error}") from error
        except (ImportError, SyntaxError) as error:
            raise UserError(f"{what}: importing {module} failed: {error}") from error
    raise UserError(
        f"{what}: there is no module {names[0]!r}; it must be installed or lie in the working "
        f"directory, {os.getcwd()}"
    )


def _missing(owner: Any, name: str) -> str:
    """`module mypkg has no 'lod'; did you mean load?`"""
    kind = "module" if isinstance(owner, ModuleType) else "object"
    close = difflib.get_close_matches(name, [one for one in dir(owner) if one[:1] != "_"], 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{kind} {getattr(owner, '__name__', owner)} has no {name!r}{hint}"
