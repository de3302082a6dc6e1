"""Ranges that a range test has found, where a configuration says `auto`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from lrsearch.config.load import with_space
from lrsearch.settings import Settings
from lrsearch.space.domains import AUTO
from lrsearch.space.names import ParameterName


def with_ranges(settings: Settings, ranges: Mapping[str, Mapping[str, Any]]) -> Settings:
    """The settings with a range for each learning rate that is still to be found.

    `ranges` are by the names of `Space.to_find`; what they lack stays to be found.
    """
    found = {name: ranges[name] for name in settings.space.to_find if name in ranges}
    if not found:
        return settings
    return with_space(settings, _filled(settings.plain["space"], found))


def _filled(space: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    filled: dict[str, Any] = copy.deepcopy(dict(space))
    for name, domain in found.items():
        optimizer = ParameterName.parse(name).owner
        if not optimizer:
            filled["lr"] = dict(domain)
            continue
        branch = filled["optimizer"]
        branch[optimizer] = {**(branch.get(optimizer) or {}), "lr": dict(domain)}
    if filled.get("lr") == AUTO and "lr" not in found:
        del filled["lr"]  # each optimizer has its own now
    return filled
