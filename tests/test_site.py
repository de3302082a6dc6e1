"""The documentation site: it builds without a warning, and loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import REPO


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. A broken link or a name that is not there would have failed the build."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=REPO,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there_and_only_what_belongs_to_the_site(site: Path) -> None:
    assert {page.with_suffix(".html").name for page in (REPO / "docs").glob("*.md")} <= {
        page.name for page in site.glob("*.html")
    }
    assert not [*site.rglob("*.py"), *site.rglob("pictures.json")]


def test_pages_load_scripts_styles_and_pictures_from_the_site_alone(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?([^\"' >]+)", text)
        loaded += re.findall(r"<link[^>]*\shref=[\"']?([^\"' >]+)", text)
        assert loaded
        outside = [url for url in loaded if re.match(r"(?:\w+:)?//", url)]
        assert not outside, page.name


def test_styles_load_nothing_from_elsewhere(site: Path) -> None:
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(?:https?:)?//|@import", style.read_text()), style


def test_the_reference_of_the_python_api_is_made_of_docstrings(site: Path) -> None:
    text = (site / "api.html").read_text()
    for name in ("build_optimizer", "build_schedule", "Schedule", "Length"):
        assert name in text
