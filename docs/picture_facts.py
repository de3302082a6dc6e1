"""Of which release, and of which sources, the pictures of the documentation are.

`docs/pictures.py` writes these facts to `docs/pictures.json` when it has made the pictures;
`tests/test_pictures.py` compares them with the present state.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrsearch import __version__

DOCS = Path(__file__).resolve().parent
FACTS = DOCS / "pictures.json"
PICTURES = (
    "running.svg", "result.svg", "report.png", "dashboard-study.png", "dashboard-trial.png",
    "dashboard-note.png",
)  # fmt: skip
SOURCES = (
    "docs/pictures.py", "docs/screenshots.py", "sweeps/mnist.yaml", "lrsearch/cli/display.py",
    "lrsearch/cli/results.py", "lrsearch/text/formatting.py", "conf", "lrsearch/analysis",
    "lrsearch/dashboard", "lrsearch/plots", "lrsearch/report",
)  # fmt: skip
"""The files, and the folders with all their files, that decide what the pictures show."""
HOW = "make them again: make pictures"


def present(root: Path = DOCS.parent) -> dict[str, Any]:
    """The facts now: the release, and a fingerprint of each picture and of each source."""
    files = [root / "docs" / name for name in PICTURES]
    for source in SOURCES:
        path = root / source
        found = path.rglob("*") if path.is_dir() else [path]
        files += sorted(file for file in found if file.is_file() and file.suffix != ".pyc")
    prints = {file.relative_to(root).as_posix(): _fingerprint(file) for file in files}
    pictures = {name: prints.pop(f"docs/{name}") for name in PICTURES}
    return {"version": __version__, "pictures": pictures, "sources": prints}


def recorded() -> dict[str, Any]:
    """The facts when the pictures were made."""
    facts: dict[str, Any] = json.loads(FACTS.read_text())
    return facts


def record() -> None:
    """Write the facts of pictures that have just been made."""
    FACTS.write_text(json.dumps(present(), indent=1) + "\n")


def of_another_release(made: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each reason why pictures are not those that the script made for this release."""
    lines = []
    if made["version"] != now["version"]:
        lines.append(f"they show lrsearch {made['version']}, and this is {now['version']}")
    lines += [
        f"docs/{name} is not the picture that the script has made"
        for name, fingerprint in now["pictures"].items()
        if made["pictures"].get(name) != fingerprint
    ]
    return lines


def changed_sources(made: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The sources that have changed, come or gone since the pictures were made."""
    before, after = made["sources"], now["sources"]
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _fingerprint(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
