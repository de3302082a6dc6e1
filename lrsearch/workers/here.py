"""What is particular to one machine, and wins over what a study says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Here:
    """Where the database, the checkpoints and the data are, as seen from this machine."""

    url: str
    checkpoints: str | None = None
    """None is where the study says."""
    data: Mapping[str, str] = field(default_factory=dict)
    """`root` and `cache` of the data, where they are not where the study says."""
