"""The options of a training that are more than one plain value: averaging, early stopping, ..."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lrsearch.config.sections import section
from lrsearch.text.hints import as_given
from lrsearch.training.settings import Averaging, CompileMode, EarlyStopping

T = TypeVar("T")

_MODES = typing.get_args(CompileMode)
_WORDS = ("true", "false", "yes", "no", "on", "off")
"""Words for truth values, in which a file may give them."""


def read_training_options(node: dict[str, Any], problems: list[str]) -> None:
    """Read the options in the section `train`, in place; those with problems are removed."""
    readers: Mapping[str, Callable[[Any, list[str]], Any]] = {
        "ema": _averaging,
        "early_stopping": _early_stopping,
        "compile": _compile,
        "micro_batch": _micro_batch,
    }
    for key, read in readers.items():
        if node.get(key) is None:
            continue
        before = len(problems)
        value = read(node.pop(key), problems)
        if len(problems) == before:
            node[key] = value


def _averaging(node: Any, problems: list[str]) -> Averaging | None:
    """Read a decay, or a mapping."""
    known = node if isinstance(node, Mapping) else {"decay": node}
    return _section("train.ema", "a decay such as 0.999", node, known, Averaging, problems)


def _early_stopping(node: Any, problems: list[str]) -> EarlyStopping | None:
    """Read a patience, or a mapping."""
    known = node if isinstance(node, Mapping) else {"patience": node}
    what = "a number of evaluations such as 5"
    return _section("train.early_stopping", what, node, known, EarlyStopping, problems)


def _section(
    path: str,
    what: str,
    node: Any,
    known: Mapping[str, Any],
    cls: type[T],
    problems: list[str],
) -> T | None:
    """Read a section that may be given as one number; `what` says which."""
    is_number = isinstance(node, int | float) and not isinstance(node, bool)
    if not is_number and not isinstance(node, Mapping):
        problems.append(f"{path}: {as_given(node)} is not {what}, a mapping, or null")
        return None
    return section(path, known, cls, problems)


def _compile(value: Any, problems: list[str]) -> Any:
    """Read a truth value, or a mode."""
    is_word = isinstance(value, str) and (value in _MODES or value.lower() in _WORDS)
    if not isinstance(value, bool) and not is_word:
        problems.append(
            f"train.compile: {as_given(value)} is not true or false, or a mode of torch.compile: "
            f"{', '.join(_MODES)}"
        )
    return value


def _micro_batch(value: Any, problems: list[str]) -> Any:
    """Read a number of samples, or `auto`."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if value != "auto" and not is_number:
        problems.append(
            f"train.micro_batch: {as_given(value)} is not a number of samples from 1, or `auto`"
        )
    return value
