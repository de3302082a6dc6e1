"""Writes docs/catalogue.md from the registries: `.venv/bin/python docs/catalogue.py`."""

from __future__ import annotations

from pathlib import Path

from lrsearch.registries import markdown

INTRODUCTION = """\
# The catalogue

What can be named in a configuration. `docs/catalogue.py` makes this page from the registries; do
not edit it. Wherever one of these names may stand, `{_target_: mypkg.Thing, ...}` may stand for
code of your own.
"""


def page() -> str:
    """The whole page."""
    return f"{INTRODUCTION}\n{markdown()}\n"


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(), encoding="utf-8")
