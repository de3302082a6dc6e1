"""Locations of the database, checkpoints and data on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


def logs_of(outputs: str | Path, study: str) -> Path:
    """The folder of a study's log files: those of its workers, and of scripts that it has run."""
    return Path(outputs) / study / "logs"


@dataclass(frozen=True)
class Locations:
    """URLs and paths as this machine sees them; they take precedence over those of a study."""

    url: str
    checkpoints: str | None = None
    """Folder or URL of the checkpoints; None for the one that the study names."""
    outputs: str = "outputs"
    """The folder in which each study has a folder of its own, with its logs."""
    data: Mapping[str, str] = field(default_factory=dict)
    """`root` and `cache` of the data, where they differ from those that the study names."""
