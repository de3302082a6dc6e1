"""Locations of the database, checkpoints and data on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Locations:
    """URLs and paths as this machine sees them; they take precedence over those of a study."""

    url: str
    checkpoints: str | None = None
    """Folder or URL of the checkpoints; None for the one that the study names."""
    data: Mapping[str, str] = field(default_factory=dict)
    """`root` and `cache` of the data, where they differ from those that the study names."""
