"""The user's own code, named by a dotted path such as `mypkg.Net`."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Collection
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import Any

from lrsearch.errors import OwnCodeError, UserError, in_short
from lrsearch.text.hints import unknown

PASSED_ON = (KeyboardInterrupt, GeneratorExit)
"""What is no error of the user's code: Ctrl-C, and the end of a generator."""
_MISSPELT = 0.9
"""The likeness from which on a name that `**kwargs` would take is a misspelt argument."""


def load_target(dotted: str, what: str) -> Any:
    """What a dotted path names; the working directory is importable.

    Raises UserError, beginning with `what`, if there is no such module or attribute, and
    OwnCodeError, with the traceback, for an error inside the user's module.
    """
    path, _, name = dotted.rpartition(".")
    if not path or dotted.startswith("."):
        raise UserError(f"{what}: {dotted!r} is not a dotted path such as mypkg.{name}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(path)
    except SystemExit as error:
        raise OwnCodeError(
            f"{what}: importing {path} ends Python: SystemExit({error.code!r}); keep what is to "
            f'run as a script under `if __name__ == "__main__":`'
        ) from error
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise OwnCodeError(f"{what}: {_failed(f'importing {path}', error)}") from error
        raise UserError(
            f"{what}: there is no module {error.name!r} (for {dotted}); modules are looked for in "
            f"the working directory {here} and among what is installed"
        ) from None
    except PASSED_ON:
        raise
    except BaseException as error:
        raise OwnCodeError(f"{what}: {_failed(f'importing {path}', error)}") from error
    if not hasattr(module, name):
        public = [one for one in vars(module) if not one.startswith("_")]
        raise UserError(f"{what}: in module {path}, {unknown(name, public)}")
    return getattr(module, name)


@dataclass(frozen=True)
class Signature:
    """The arguments that a callable takes."""

    named: tuple[str, ...]
    """Those that can be given by name."""
    leading: tuple[str, ...]
    """Those that can be given by position, in order."""
    needed: frozenset[str]
    """Those without a default."""
    is_open: bool
    """Whether it may take further names: by `**kwargs`, or because its signature is unreadable."""
    takes_more: bool
    """Whether it may take any number by position."""

    @classmethod
    def of(cls, function: Any) -> Signature:
        """The signature of a function, a class, a partial, or anything else that is callable."""
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # built in, or written in C
            return cls((), (), frozenset(), is_open=True, takes_more=True)
        by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        by_position = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        return cls(
            named=tuple(one.name for one in parameters if one.kind in by_name),
            leading=tuple(one.name for one in parameters if one.kind in by_position),
            needed=frozenset(
                one.name
                for one in parameters
                if one.default is one.empty and one.kind in (*by_name, *by_position)
            ),
            is_open=any(one.kind is Parameter.VAR_KEYWORD for one in parameters),
            takes_more=any(one.kind is Parameter.VAR_POSITIONAL for one in parameters),
        )


def check_arguments(
    function: Any,
    arguments: Collection[str],
    what: str,
    offered: Collection[str] = (),
    positional: int = 0,
) -> None:
    """Raises UserError for arguments that a function does not take, or needs and is not given.

    `arguments` are the names that the user gives, `offered` those that lrsearch itself can give;
    lrsearch also gives the first `positional` ones, by position.
    """
    if not callable(function):
        raise UserError(f"{what}: {function!r} cannot be called")
    signature = Signature.of(function)
    called = name_of(function)
    ours = signature.leading[:positional]
    named = [name for name in signature.named if name not in ours]
    problems = []
    if len(ours) < positional and not signature.takes_more:
        problems.append(f"{what}: {called} must take {positional} arguments by position")
    for name in arguments:
        if name in ours:
            problems.append(f"{what}.{name}: lrsearch itself gives {called} this argument")
        elif name not in named and name in signature.leading and not signature.is_open:
            problems.append(
                f"{what}.{name}: {called} takes it by position alone, and it can only be given by "
                f"name; name a function of yours that calls {called}"
            )
        elif name not in named and (
            not signature.is_open or difflib.get_close_matches(name, named, 1, _MISSPELT)
        ):
            problems.append(f"{what}.{name}: {unknown(name, named)}")
    problems += [
        f"{what}.{name} is missing: {called} needs it"
        for name in dict.fromkeys((*signature.leading, *signature.named))
        if name in signature.needed and name not in (*ours, *arguments, *offered)
    ]
    if problems:
        raise UserError("\n".join(problems))


def name_of(function: Any) -> str:
    """What to call it in a message: its name, that of what it is a partial of, or its repr."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", repr(function)))


def fresh(value: Any) -> Any:
    """The value with lists and dicts of its own, which the user's code may change."""
    if isinstance(value, list):
        return [fresh(item) for item in value]
    if isinstance(value, dict):
        return {key: fresh(item) for key, item in value.items()}
    return value


def call_own(function: Any, dotted: str, *positional: Any, **arguments: Any) -> Any:
    """Calls the user's function with copies of the arguments, which it may change.

    Raises OwnCodeError with the traceback from its own frames on.
    """
    try:
        return function(*positional, **fresh(arguments))
    except (UserError, *PASSED_ON):
        raise
    except BaseException as error:  # noqa: BLE001 - the user's code can raise anything
        raise OwnCodeError(_failed(dotted, error)) from None


def _failed(what: str, error: BaseException) -> str:
    """That something of the user's failed, of what, and the traceback from its own frames on.

    What was raised comes first: the frames that follow may be many, torch's among them.
    """
    frames = error.__traceback__
    while frames is not None and _is_between(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    # Of a SyntaxError, which has no frame of the user's, the line of code comes first; notes follow
    # what was raised.
    only = traceback.format_exception_only(error)
    raised = in_short(only[-1] if isinstance(error, SyntaxError) else only[0])
    if frames is None and not isinstance(error, SyntaxError):
        frames = error.__traceback__  # all are lrsearch's: they are what there is to see
    lines = only if frames is None else traceback.format_exception(type(error), error, frames)
    return f"{what} failed: {raised}\n{''.join(lines).rstrip()}"


def _is_between(file: str) -> bool:
    """Whether it is code of Python's import, or lrsearch's own that calls the user's."""
    return "importlib" in file or file.startswith(f"{Path(__file__).parent}{os.sep}")
