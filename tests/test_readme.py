"""The README introduces: short, with the two commands that set everything up."""

from __future__ import annotations

import re

from documentation import REPO, sections

TEXT = (REPO / "README.md").read_text()


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 170


def test_its_two_commands_are_targets_that_do_their_own_set_up() -> None:
    makefile = (REPO / "Makefile").read_text()
    for target in ("mnist", "test"):
        assert re.search(rf"^\$ make {target}\b", TEXT, re.MULTILINE)
        assert re.search(rf"^{target}: \$\(VENV\)/installed", makefile, re.MULTILINE)


def test_a_model_of_ones_own_takes_fifteen_lines() -> None:
    (section,) = [one for one in sections(REPO / "README.md") if one.title == "Your own model"]
    lines = [line for text in section.files.values() for line in text.splitlines()]
    code = [line for line in lines if line and not line.startswith("# ")]
    assert len(code) <= 15


def test_every_page_is_linked() -> None:
    pages = {page.name for page in (REPO / "docs").glob("*.md")}
    included = {"contributing.md", "changelog.md"}  # files of the top, which are linked themselves
    generated = {"api.md"}  # made of docstrings when the site is built
    assert pages - included - generated == set(re.findall(r"\]\(docs/([\w-]+\.md)\)", TEXT))
