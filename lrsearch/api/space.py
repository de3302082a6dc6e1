"""What is searched, as written in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lrsearch.errors import UserError
from lrsearch.own_code import dotted_path

Range = dict[str, Any]
"""A range as a sweep file writes it: `{"low": 1e-4, "high": 1.0, "log": True}`."""
Domain = Any
"""What one parameter may be: a range, a list of choices, or a fixed value."""


def log(low: float, high: float, *, points: int | None = None) -> Range:
    """A range of real numbers on a logarithmic scale, ends included; both are above 0.

    `points` is the number of values that a grid takes from it.
    """
    return _range(low=float(low), high=float(high), log=True, points=points)


def uniform(low: float, high: float, *, points: int | None = None) -> Range:
    """A range of real numbers, ends included.

    `points` is the number of values that a grid takes from it.
    """
    return _range(low=float(low), high=float(high), points=points)


def integer(low: int, high: int, *, log: bool = False, step: int | None = None) -> Range:
    """A range of whole numbers, ends included, on a linear or a logarithmic scale.

    `step` is the distance of neighbours on a linear scale.
    """
    return _range(low=low, high=high, type="int", log=log or None, step=step)


def powers_of_two(low: int, high: int) -> Range:
    """The powers of two from `low` to `high`, which are such powers, too."""
    return _range(low=low, high=high, type="power_of_two")


def _range(**keys: Any) -> Range:
    return {key: value for key, value in keys.items() if value is not None}


class Space:
    """What is searched: a domain for each parameter by its name.

    A domain is a range (`log`, `uniform`, `integer`, `powers_of_two`), a list or tuple of choices,
    or one fixed value. What is not named is not searched: AdamW, a constant learning rate, a batch
    size of 32, no warm-up, and torch's defaults for all else.
    """

    def __init__(
        self,
        *,
        lr: Domain,
        batch_size: Domain = None,
        warmup: Domain = None,
        grad_clip: Domain = None,
        optimizer: str | Sequence[str] | Mapping[str, Any] | None = None,
        scheduler: str | Sequence[str] | Mapping[str, Any] | None = None,
        model: Mapping[str, Domain] | None = None,
        data: Mapping[str, Domain] | None = None,
        groups: Mapping[str, Mapping[str, Domain]] | None = None,
        **parameters: Domain,
    ) -> None:
        """Write the space down; it is checked when a study is made of it.

        - `lr`: peak learning rate, or, with lrsearch's own loop, `"auto"`: a range test finds it.
        - `batch_size`: samples a step. `grad_clip`: largest norm of the gradient.
        - `warmup`: length of the linear warm-up, as a share of the training, or `"5ep"`, `"100st"`.
        - `optimizer`, `scheduler`: a name, a list of names, or a mapping of names to the domains of
          their own parameters: `{"sgd": {"momentum": uniform(0.8, 0.99)}, "adamw": {}}`. A class
          of your own stands as `{"mine": {"_target_": MyOptimizer, "lr": log(1e-4, 1)}}`.
        - `model`, `data`: arguments of the model and the data; with a training of your own they are
          in `trial.recipe.model` and `trial.recipe.data`.
        - `groups`: what is searched of the parameter groups of `train.groups`.
        - `parameters`: what optimizers share, such as `weight_decay`.
        """
        shared = {"lr": lr, "batch_size": batch_size, "warmup": warmup, "grad_clip": grad_clip}
        owned = {"model": model, "data": data, "groups": groups}
        self.domains: dict[str, Any] = {
            name: domain
            for name, domain in {**shared, **parameters, **owned}.items()
            if domain is not None
        }
        """The domains by name, without optimizer and scheduler."""
        self.branches: dict[str, dict[str, Any]] = {
            name: _options(name, node)
            for name, node in (("optimizer", optimizer), ("scheduler", scheduler))
            if node is not None
        }
        """The options of optimizer and scheduler, each with the domains of its own parameters."""

    def to_plain(self) -> dict[str, Any]:
        """The section `space` of a sweep file. Raises UserError for values that none can hold."""
        for key, node in (self.domains | self.branches).items():
            _refuse_pairs(node, f"space.{key}")
        branches = {
            name: {"only": list(options), **{k: v for k, v in options.items() if v}}
            for name, options in self.branches.items()
        }
        return {key: plain(node, f"space.{key}") for key, node in (self.domains | branches).items()}

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={node!r}" for key, node in (self.domains | self.branches).items())
        return f"Space({shown})"


def _options(branch: str, node: str | Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(node, str):
        return {node: {}}
    if isinstance(node, Mapping):
        return {str(name): inner or {} for name, inner in node.items()}
    many = node if isinstance(node, Sequence) else [node]
    wrong = [item for item in many if not isinstance(item, str)]
    if wrong:
        raise UserError(
            f"space.{branch}: {wrong[0]!r} is not a name: for code of your own write "
            f'{{"mine": {{"_target_": ...}}}}'
        )
    return {name: {} for name in node}


def _refuse_pairs(node: Any, path: str) -> None:
    """Raise UserError for a pair of numbers as a domain: it may be meant as a range."""
    if isinstance(node, Mapping):
        for key, inner in node.items():
            if key not in ("choices", "value"):
                _refuse_pairs(inner, f"{path}.{key}")
    elif isinstance(node, tuple) and len(node) == 2:
        low, high = node
        if all(isinstance(end, int | float) and not isinstance(end, bool) for end in node):
            raise UserError(
                f"{path}: ({low!r}, {high!r}) may be a range, two choices or one pair: write "
                f"lrsearch.uniform({low!r}, {high!r}) or lrsearch.log({low!r}, {high!r}), "
                f'[{low!r}, {high!r}], or {{"value": [{low!r}, {high!r}]}}'
            )


def plain(value: Any, path: str) -> Any:
    """A value as YAML holds it: tuples as lists, paths as text, numbers of numpy and torch as
    Python's, and functions and classes by their dotted paths.

    Raises UserError, with the `path` of the value, for anything else.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [plain(item, path) for item in value]
    if isinstance(value, Path):
        return str(value)
    if callable(value):
        if (dotted := dotted_path(value)) is None:
            name = getattr(value, "__qualname__", repr(value))
            raise UserError(
                f"{path}: other processes cannot import {name}: put it into a module (mypkg.{name})"
            )
        return dotted
    if hasattr(value, "item"):
        return plain(value.item(), path)
    raise UserError(f"{path}: {value!r} is no plain value")
