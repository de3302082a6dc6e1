"""Functions that worker processes cannot import: pickled for the workers of one call alone.

Loading a pickle runs code. So only the worker processes that a call of `lrsearch.search` starts
load one: the call writes it to a file that the user alone can read and write, and tells its own
workers, in their environment, where it is and what its SHA-256 is. Nothing that is stored with a
study leads to a pickle.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lrsearch.errors import UserError
from lrsearch.files import write_private

VARIABLE = "LRSEARCH_FUNCTION"
"""The environment variable of a worker: the function's dotted path, its SHA-256 and the file."""


@contextlib.contextmanager
def pickled(path: str, function: Callable[..., Any], folder: Path) -> Iterator[dict[str, str]]:
    """Write a function to a private file for the length of the block.

    `path` is the dotted path that the study is stored with. Yields the environment variables with
    which workers find it. Raises UserError if cloudpickle is not installed, or cannot pickle it.
    """
    try:
        import cloudpickle
    except ImportError:
        raise UserError(
            "objective: a function of a notebook or a script needs the package cloudpickle for "
            "several workers: pip install cloudpickle, put the function into a module, or leave "
            "out workers to train in this process"
        ) from None
    try:
        data: bytes = cloudpickle.dumps(function)
    except Exception as error:
        raise UserError(
            f"objective: the function cannot be pickled for several workers ({error}): create "
            f"what it needs within it, put it into a module, or leave out workers to train in "
            f"this process"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    file = folder / f"function-{digest[:16]}.pickle"
    write_private(file, data)
    try:
        yield {VARIABLE: f"{path} {digest} {file.absolute()}"}
    finally:
        file.unlink(missing_ok=True)


def unpickled(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The function that the process which started this worker has pickled, by its dotted path.

    Empty where it has pickled none. Raises UserError if the file is not the one it has written.
    """
    if VARIABLE not in environment:
        return {}
    import pickle

    path, digest, file = environment[VARIABLE].split(" ", 2)
    data = Path(file).read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise UserError(f"objective: {file} is not the function that was written to it")
    return {path: pickle.loads(data)}  # noqa: S301 - written by the parent process, see above
