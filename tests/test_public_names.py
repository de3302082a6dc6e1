"""The public names of the package: all there, and none imported before it is used."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from documentation import REPO

import lrsearch


@pytest.mark.parametrize("name", lrsearch.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(lrsearch, name).__name__ == name


@pytest.mark.parametrize("name", lrsearch.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    assert getattr(lrsearch, name).__doc__
    text = (REPO / "docs" / "api.md").read_text()
    assert re.search(rf"^::: lrsearch\.{name}$", text, re.MULTILINE)


def test_other_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = lrsearch.nothing_of_this_name


def test_the_package_alone_imports_nothing_else_of_its_own() -> None:
    code = "import sys, lrsearch; print([name for name in sys.modules if name[:9] == 'lrsearch.'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
