"""The pictures of the documentation: made by their script, for this release."""

from __future__ import annotations

import copy
import os
import re
import runpy
import warnings
from pathlib import Path
from typing import Any

import pytest
from documentation import PAGES, REPO


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """The names of `docs/picture_facts.py`."""
    return runpy.run_path(str(REPO / "docs" / "picture_facts.py"))


def test_every_picture_of_the_pages_is_one_that_the_script_makes(facts: dict[str, Any]) -> None:
    shown = {
        Path(name).name
        for page in PAGES
        for name in re.findall(r"!\[[^\]]*\]\(([^)\s]+\.(?:svg|png))\)", page.read_text())
        if "://" not in name
    }
    assert shown == set(facts["PICTURES"])


def test_they_are_those_of_this_release(facts: dict[str, Any]) -> None:
    wrong = facts["of_another_release"](facts["recorded"](), facts["present"]())
    assert not wrong, f"{'; '.join(wrong)}; {facts['HOW']}"


def test_what_they_show_has_not_changed(facts: dict[str, Any]) -> None:
    changed = facts["changed_sources"](facts["recorded"](), facts["present"]())
    if not changed:
        return
    stale = f"the pictures are older than {', '.join(changed)}; {facts['HOW']}"
    if os.environ.get("LRSEARCH_PICTURES_REQUIRED"):
        pytest.fail(stale)
    warnings.warn(stale, stacklevel=1)


def test_what_makes_them_stale_is_found(facts: dict[str, Any]) -> None:
    now = facts["present"]()
    assert facts["of_another_release"](now, now) == []
    assert facts["changed_sources"](now, now) == []
    made = copy.deepcopy(now)
    made["version"] = "0.0.1"
    made["pictures"]["report.png"] = "another"
    made["sources"]["lrsearch/report/style.css"] = "another"
    made["sources"]["lrsearch/report/gone.py"] = "some"
    del made["sources"]["lrsearch/plots/terminal.py"]
    release, picture = facts["of_another_release"](made, now)
    assert "0.0.1" in release
    assert "docs/report.png" in picture
    assert facts["changed_sources"](made, now) == [
        "lrsearch/plots/terminal.py", "lrsearch/report/gone.py", "lrsearch/report/style.css",
    ]  # fmt: skip
