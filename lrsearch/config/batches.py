"""Limit the batch sizes of a sweep to the number of training samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lrsearch.config.checks import check_first
from lrsearch.errors import ConfigErrors
from lrsearch.settings import Settings
from lrsearch.space.domains import IntRange, PowersOfTwo

_KEY = "space.batch_size"


def fit_batches(settings: Settings, n_train: int | None, data: str) -> Settings:
    """Limit the batch sizes of a space to the `n_train` training samples of the data set `data`.

    A range is cut, and a note says so. Raises ConfigErrors for a fixed or chosen size, for a range
    that begins above, and for a setting tried first that is not in the range that is left. Where
    arguments of the data are tuned their number may differ from trial to trial, and nothing is
    checked; nor is it for a stream that does not tell its length.
    """
    domain = settings.space.shared.get("batch_size")
    if n_train is None:
        return settings
    if settings.space.tuned("data").keys() - {"crop", "flip"} or domain is None:
        return settings
    large = [size for size in domain.ends() if size > n_train]
    if not large:
        return settings
    samples = f"the {n_train:,} training samples of {data}"
    if not isinstance(domain, IntRange | PowersOfTwo):
        sizes = ", ".join(str(size) for size in large)
        raise ConfigErrors([f"{_KEY}: {sizes} is larger than {samples}"])
    plain = cut_batches(settings.plain, n_train)
    if plain is settings.plain:
        raise ConfigErrors([f"{_KEY}.low: {domain.ends()[0]} is larger than {samples}"])
    high = plain["space"]["batch_size"]["high"]
    note = f"{_KEY}: the range ends at {high}, not {large[-1]}: there are {samples}"
    shared = {**settings.space.shared, "batch_size": dataclasses.replace(domain, high=high)}
    space = dataclasses.replace(settings.space, shared=shared)
    problems: list[str] = []
    check_first(settings.study, space, problems)
    if problems:
        raise ConfigErrors([f"{problem} ({note})" for problem in problems])
    return dataclasses.replace(settings, space=space, plain=plain, notes=(*settings.notes, note))


def cut_batches(plain: Mapping[str, Any], n_train: int | None) -> Mapping[str, Any]:
    """Cut the range of batch sizes to `n_train`; return the same configuration if it fits."""
    node = plain["space"].get("batch_size")
    if n_train is None or not isinstance(node, Mapping) or not {"low", "high"} <= node.keys():
        return plain
    low, high = int(node["low"]), int(node["high"])
    if not low <= n_train < high:
        return plain
    step = int(node.get("step") or 1)
    largest = low + (n_train - low) // step * step
    if node.get("type") == "power_of_two":
        largest = 1 << n_train.bit_length() - 1
    space = {**plain["space"], "batch_size": {**node, "high": largest}}
    return {**plain, "space": space}
