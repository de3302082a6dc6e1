"""Replace `auto` in a configuration by the ranges that a range test has found."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from lrsearch.config.load import with_space
from lrsearch.settings import Settings
from lrsearch.space.domains import AUTO
from lrsearch.space.names import ParameterName


def with_ranges(settings: Settings, ranges: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Replace `auto` by a range for each learning rate in `ranges`.

    `ranges` are by the names of `Space.to_find`; rates without one keep `auto`.
    """
    new_ranges = {name: ranges[name] for name in settings.space.to_find if name in ranges}
    if not new_ranges:
        return settings
    return with_space(settings, _filled(settings.plain["space"], new_ranges))


def _filled(
    space: Mapping[str, Any], new_ranges: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    filled: dict[str, Any] = copy.deepcopy(dict(space))
    for name, domain in new_ranges.items():
        optimizer = ParameterName.parse(name).owner
        if not optimizer:
            filled["lr"] = dict(domain)
            continue
        branch = filled["optimizer"]
        branch[optimizer] = {**(branch.get(optimizer) or {}), "lr": dict(domain)}
    if filled.get("lr") == AUTO and "lr" not in new_ranges:
        del filled["lr"]  # each optimizer has its own now
    return filled
