"""The folders of the configuration, and the sweeps in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lrsearch.config.words import WORDS
from lrsearch.text.hints import printable
from lrsearch.text.yaml import YamlError, read_file

_PACKAGE = Path(__file__).resolve().parent.parent


def _shipped(name: str) -> Path:
    """`conf` or `sweeps`: inside an installed package, or beside it in a checkout."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def conf_folder() -> Path:
    """The catalogue of parts."""
    return _shipped("conf")


@dataclass(frozen=True)
class Sweep:
    """A sweep: the content of a file, or what a call from Python says."""

    name: str
    path: Path | None
    """The file; None for a call from Python."""
    node: DictConfig
    problem: str | None = None
    """Why this file cannot be read."""

    @classmethod
    def of_call(cls, name: str, content: Mapping[str, Any]) -> Sweep:
        """The sweep of a call from Python, with the content that its file would have."""
        return cls(name, None, OmegaConf.create(dict(content)))

    @property
    def place(self) -> str:
        """Where its keys are written, for messages."""
        if self.path is None:
            return "the call"
        cwd = Path.cwd()
        return str(self.path.relative_to(cwd) if self.path.is_relative_to(cwd) else self.path)

    @property
    def description(self) -> str:
        """One line on what the sweep searches, or why it cannot be read."""
        if self.problem is not None:
            return f"broken: {self.problem}".splitlines()[0]
        return str(OmegaConf.to_container(self.node).get("description", ""))  # type: ignore[union-attr]


def find_sweeps() -> dict[str, Sweep]:
    """The sweeps by name; those in the working directory's `sweeps/` win over the shipped ones."""
    own = Path.cwd() / "sweeps"
    sweeps = _shipped_sweeps() | ({} if own == _shipped("sweeps") else _sweeps_in(own))
    return dict(sorted(sweeps.items()))


@cache
def _shipped_sweeps() -> dict[str, Sweep]:
    """The sweeps of the package, read once in a process."""
    return _sweeps_in(_shipped("sweeps"))


def _sweeps_in(folder: Path) -> dict[str, Sweep]:
    return {path.stem: _read(path) for path in sorted(folder.glob("*.yaml"))}


def _read(path: Path) -> Sweep:
    problem = None
    node: object = DictConfig({})
    try:
        node = OmegaConf.create(read_file(path, [*WORDS, "defaults[].*"]))
    except YamlError as error:
        problem = str(error)
    except OmegaConfBaseException as error:
        problem = f"{path}: {error}"
    if not isinstance(node, DictConfig):
        node, problem = DictConfig({}), f"{path} is not a mapping of keys to values"
    return Sweep(path.stem, path, node, problem)


def sweep_list(sweeps: dict[str, Sweep]) -> str:
    """The sweeps in lines of name and description."""
    width = max(map(len, sweeps), default=0)
    return "\n".join(
        f"  {printable(name):{width}}  {printable(sweep.description)}"
        for name, sweep in sweeps.items()
    )
