"""The names that searched parameters are stored under: `lr`, `step.gamma`, `log2_batch_size`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from lrsearch.recipe import COMMON, Recipe

GROUPS = "groups"
"""Before the rule in names of parameter groups: `groups.head.lr_factor`."""
OWNERS = ("model", "data")
"""Sections of the configuration whose arguments can be searched."""
BRANCHES = ("optimizer", "scheduler")
"""Parameters that choose an option, whose own parameters then follow."""

_LOG2 = "log2_"
_REFERENCE = "_ref"
_RATE = "lr"


@dataclass(frozen=True)
class ParameterName:
    """A stored name, `[log2_][OWNER.]ARGUMENT[_ref]`, taken apart.

    `str` writes the stored name and `parse` reads it; each is the inverse of the other.
    """

    argument: str
    """`lr`, `gamma`, `batch_size`; for a branch itself, its name."""
    owner: str = ""
    """The optimizer or scheduler (`adamw`, `step`), `model`, `data` or a rule of parameter groups
    (`groups.head`); empty for a shared one."""
    is_reference: bool = False
    """Whether the value is the learning rate at the reference batch size of a coupling."""
    is_log2: bool = False
    """Whether the value is the exponent of a power of two."""

    def __post_init__(self) -> None:
        if self.is_reference and not self.is_rate:
            raise ValueError(f"{self.argument!r} is no learning rate: it has no reference value")

    def __str__(self) -> str:
        owner = f"{self.owner}." if self.owner else ""
        return f"{_LOG2 * self.is_log2}{owner}{self.argument}{_REFERENCE * self.is_reference}"

    @classmethod
    def parse(cls, stored: str) -> ParameterName:
        """Read a stored name; every text is one."""
        return _parse(stored)

    def as_reference(self) -> Self:
        """The name of the same learning rate at the reference batch size."""
        return replace(self, is_reference=True)

    def as_log2(self, is_log2: bool = True) -> Self:
        """The name of the same parameter stored by its exponent, or by its value."""
        return replace(self, is_log2=is_log2)

    @property
    def group(self) -> str:
        """The rule of parameter groups that it belongs to; empty for other parameters."""
        head, dot, rule = self.owner.partition(".")
        return rule if dot and head == GROUPS else ""

    @property
    def is_rate(self) -> bool:
        """Whether it is a peak learning rate, shared or an optimizer's own."""
        return self.argument == _RATE and self.owner not in OWNERS

    def value(self, stored: Any) -> Any:
        """The parameter's value for a stored one: 128 for an exponent of 7."""
        return 1 << stored if self.is_log2 else stored

    def value_in(self, recipe: Recipe) -> Any:
        """What a recipe has for this parameter; None if it has none."""
        if not self.owner and self.argument in BRANCHES:
            return getattr(recipe, self.argument).name
        if self.owner in OWNERS:
            return getattr(recipe, self.owner).get(self.argument)
        if self.group:
            rules = {rule.name: rule for rule in recipe.groups}
            return rules[self.group].arguments.get(self.argument) if self.group in rules else None
        if self.is_reference:
            return recipe.lr_ref
        if self.argument in COMMON:
            return getattr(recipe, self.argument)
        part = recipe.scheduler if self.owner == recipe.scheduler.name else recipe.optimizer
        return part.arguments.get(self.argument)


def as_written(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a trial as users write them: `batch_size=128` for `log2_batch_size=7`."""
    names = {stored: ParameterName.parse(stored) for stored in parameters}
    return {
        str(name.as_log2(False)): name.value(parameters[stored]) for stored, name in names.items()
    }


@functools.lru_cache(maxsize=4096)
def _parse(stored: str) -> ParameterName:
    name = stored.removeprefix(_LOG2)
    is_log2 = name != stored
    first, dot, rest = name.partition(".")
    if dot and first in OWNERS:
        # These arguments are named by users, who may call one `lr_ref`.
        return ParameterName(rest, first, is_log2=is_log2)
    owner, _, argument = name.rpartition(".")
    if not owner:
        argument = name
    if argument == f"{_RATE}{_REFERENCE}":
        return ParameterName(_RATE, owner, is_reference=True, is_log2=is_log2)
    return ParameterName(argument, owner, is_log2=is_log2)
