"""Importing, checking and calling the user's own code, by a dotted path such as `mypkg.Net`."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import Any

from lrsearch.errors import OwnCodeError, UserError, in_short
from lrsearch.text.hints import unknown

PASSED_ON = (KeyboardInterrupt, GeneratorExit)
"""Exceptions that are not errors of the user's code: Ctrl-C, and the end of a generator."""
_MISSPELT = 0.9
"""Similarity (of difflib) to an argument's name from which on a name that `**kwargs` would take is
reported as misspelt."""

MAIN = "__main__"
"""The module of functions that no other process can import: of a notebook, or of a script."""
_provided: dict[str, Any] = {}


@contextlib.contextmanager
def provided(functions: Mapping[str, Any]) -> Iterator[None]:
    """Let `load_target` find these functions by their dotted paths, in this process, in the block.

    For functions that cannot be imported; their paths begin with MAIN, which names a different
    module in each process.
    """
    before = {path: _provided[path] for path in functions if path in _provided}
    _provided.update(functions)
    try:
        yield
    finally:
        for path in functions:
            _provided.pop(path, None)
        _provided.update(before)


def load_target(dotted: str, what: str) -> Any:
    """Import the attribute of a module at a dotted path; the working directory is importable.

    Functions that were `provided` need no module. Raises UserError, beginning with `what`, if there
    is no such module or attribute, and OwnCodeError with the traceback if importing the module
    fails.
    """
    path, _, name = dotted.rpartition(".")
    if dotted in _provided:
        return _provided[dotted]
    if path == MAIN and not _is_users_main(name):
        raise UserError(
            f"{what}: {name} is a function of the script or the notebook that made the study, and "
            f"can be trained from there alone; in a module of its own (mypkg.{name}) any worker "
            f"can import it"
        )
    if not path or dotted.startswith("."):
        raise UserError(f"{what}: {dotted!r} is not a dotted path such as mypkg.{name}")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(path)
    except SystemExit as error:
        raise OwnCodeError(
            f"{what}: importing {path} ends Python: SystemExit({error.code!r}); put code that "
            f'runs as a script under `if __name__ == "__main__":`'
        ) from error
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise OwnCodeError(f"{what}: {_failed(f'importing {path}', error)}") from error
        raise UserError(
            f"{what}: there is no module {error.name!r} (for {dotted}); modules are looked for in "
            f"the working directory {folder} and among the installed packages"
        ) from None
    except PASSED_ON:
        raise
    except BaseException as error:
        raise OwnCodeError(f"{what}: {_failed(f'importing {path}', error)}") from error
    if not hasattr(module, name):
        public = [attribute for attribute in vars(module) if not attribute.startswith("_")]
        raise UserError(f"{what}: in module {path}, {unknown(name, public)}")
    return getattr(module, name)


def is_of_main(dotted: str) -> bool:
    """Whether a dotted path is of a notebook or a script, which no other process can import."""
    return dotted.startswith(f"{MAIN}.")


def _is_users_main(name: str) -> bool:
    """Whether the main module of this process is the user's, and has this attribute."""
    main = sys.modules.get(MAIN)
    spec = getattr(main, "__spec__", None)
    is_ours = spec is not None and spec.name.partition(".")[0] == __name__.partition(".")[0]
    return hasattr(main, name) and not is_ours


def dotted_path(function: Any) -> str | None:
    """The dotted path at which another process can import a function or class; None without one.

    None for those of a notebook or a script (`__main__`), for lambdas, partials, and functions
    within functions.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if not module or module == MAIN or "." in name:
        return None
    try:
        is_there = getattr(importlib.import_module(module), name, None) is function
    except ImportError:
        return None
    return f"{module}.{name}" if is_there else None


@dataclass(frozen=True)
class Signature:
    """The arguments that a callable takes."""

    named: tuple[str, ...]
    """Names of those that can be given by name."""
    leading: tuple[str, ...]
    """Names of those that can be given by position, in order."""
    needed: frozenset[str]
    """Names of those without a default."""
    is_open: bool
    """Whether it may take other names: it has `**kwargs`, or its signature cannot be read."""
    takes_more: bool
    """Whether it may take any number of positional arguments."""

    @classmethod
    def of(cls, function: Any) -> Signature:
        """The signature of a function, class, partial or other callable."""
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # built in, or written in C
            return cls((), (), frozenset(), is_open=True, takes_more=True)
        by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        by_position = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        return cls(
            named=tuple(argument.name for argument in parameters if argument.kind in by_name),
            leading=tuple(argument.name for argument in parameters if argument.kind in by_position),
            needed=frozenset(
                argument.name
                for argument in parameters
                if argument.default is argument.empty and argument.kind in (*by_name, *by_position)
            ),
            is_open=any(argument.kind is Parameter.VAR_KEYWORD for argument in parameters),
            takes_more=any(argument.kind is Parameter.VAR_POSITIONAL for argument in parameters),
        )


def check_arguments(
    function: Any,
    arguments: Collection[str],
    what: str,
    offered: Collection[str] = (),
    positional: int = 0,
) -> None:
    """Raise UserError if a function does not take these arguments, or needs others.

    `arguments` are the names that the user gives, `offered` those that lrsearch itself can give;
    lrsearch also gives the first `positional` arguments, by position. Messages begin with `what`.
    """
    if not callable(function):
        raise UserError(f"{what}: {function!r} cannot be called")
    signature = Signature.of(function)
    called = name_of(function)
    ours = signature.leading[:positional]
    named = [name for name in signature.named if name not in ours]
    problems = []
    if len(ours) < positional and not signature.takes_more:
        number = "one argument" if positional == 1 else f"{positional} arguments"
        problems.append(f"{what}: the function {called} must take {number} by position")
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


def own_callable(dotted: str, arguments: Mapping[str, Any], what: str, positional: int) -> Any:
    """The user's function with its named arguments, to be called with `positional` others.

    A class is instantiated with the arguments, and its instance is called. Raises UserError,
    beginning with the configuration key `what`, if it cannot be imported or does not take its
    arguments, and OwnCodeError if the user's code raises.
    """
    function = load_target(dotted, what)
    if not inspect.isclass(function):
        check_arguments(function, arguments, what, positional=positional)
        return functools.partial(function, **arguments) if arguments else function
    check_arguments(function, arguments, what)
    instance = call_own(function, dotted, **arguments)
    if not callable(instance):
        raise UserError(f"{what}: {dotted} is a class whose instances cannot be called")
    return instance


def name_of(function: Any) -> str:
    """The name of a callable, or of a partial's function, for messages; its repr without a name."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", repr(function)))


def fresh(value: Any) -> Any:
    """A copy of a value and of all lists and dicts in it, which the user's code may change."""
    if isinstance(value, list):
        return [fresh(item) for item in value]
    if isinstance(value, dict):
        return {key: fresh(item) for key, item in value.items()}
    return value


def call_own(function: Any, dotted: str, *positional: Any, **arguments: Any) -> Any:
    """Call the user's function with copies of the named arguments, which it may change.

    Raises OwnCodeError, beginning with `dotted`, with the traceback from the user's frames on. A
    UserError passes unchanged.
    """
    try:
        return function(*positional, **fresh(arguments))
    except (UserError, *PASSED_ON):
        raise
    except BaseException as error:  # noqa: BLE001 - the user's code can raise anything
        raise OwnCodeError(_failed(dotted, error)) from None


def _failed(what: str, error: BaseException) -> str:
    """The message for an error of the user's code: the error, then the traceback of their frames.

    The error comes first, because the traceback may be long.
    """
    frames = error.__traceback__
    while frames is not None and _is_between(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    # The first line names the error and notes follow, except for a SyntaxError: there the lines of
    # code come first, and no frame is the user's.
    without_frames = traceback.format_exception_only(error)
    raised = in_short(without_frames[-1 if isinstance(error, SyntaxError) else 0])
    if frames is None and not isinstance(error, SyntaxError):
        frames = error.__traceback__  # no frame is the user's, so those of lrsearch are shown
    lines = (
        without_frames if frames is None else traceback.format_exception(type(error), error, frames)
    )
    return f"{what} failed: {raised}\n{''.join(lines).rstrip()}"


def _is_between(file: str) -> bool:
    """Whether a source file is of Python's import system or of lrsearch, not the user's."""
    return "importlib" in file or file.startswith(f"{Path(__file__).parent}{os.sep}")
