"""Pictures of the dashboard and the report of a sweep, by a browser; `docs/pictures.py` uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path.append(str(REPO / "tests"))  # whose helpers it shares

from browser import chromium  # noqa: E402
from playwright.sync_api import FloatRect, Page, expect  # noqa: E402
from served_dashboard import clean_environment, serving  # noqa: E402

from lrsearch.analysis.study_data import StudyData, read_study  # noqa: E402
from lrsearch.dashboard.refresh import refresh  # noqa: E402
from lrsearch.storage.database import Database  # noqa: E402

DOCS = REPO / "docs"
WIDTH, HEIGHT = 1280, 1000
HEIGHT_OF_FIGURES, HEIGHT_OF_FINDINGS, HEIGHT_OF_REPORT = 2220, 2000, 1800
PICTURE = 'img[alt^="Losses and learning rate"]'
LARGEST = 280_000
"""Bytes of a picture."""


def draw_pages(file: Path) -> None:
    """Draw the dashboard and the report of the study `mnist` in a SQLite database."""
    database = Database(f"sqlite:///{file}")
    refresh(database, "mnist", "drawn anew")
    study = read_study(database, "mnist", curves=False)
    database.close()
    arguments = (f"storage.url=sqlite:///{file}",)
    with (
        serving(file.parent, clean_environment(), *arguments) as server,
        chromium() as browser,
    ):
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        draw(page, f"http://127.0.0.1:{server.port}/dashboard/studies/{study.study_id}", study)
        draw_report(page, file.parent / "report.html", arguments)


def draw(page: Page, address: str, study: StudyData) -> None:
    """Draw the study's history, its best trial and its note."""
    page.goto(address)
    expect(page.locator('[id="user-defined-plot:lrsearch-curves"] .main-svg').first).to_be_visible(
        timeout=60_000
    )
    save(page, "dashboard-study.png", top=HEIGHT_OF_FIGURES)
    best = study.ranked[0].number
    page.goto(f"{address}/trials?numbers={best}")
    expect(page.locator(PICTURE).first).to_be_visible(timeout=60_000)
    save(page, "dashboard-trial.png")
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT_OF_FINDINGS})
    page.goto(f"{address}/note")
    expect(page.locator(PICTURE).first).to_be_visible(timeout=60_000)
    save(page, "dashboard-note.png")


def draw_report(page: Page, file: Path, arguments: tuple[str, ...]) -> None:
    """Draw the first answers of the report."""
    command = ("-m", "lrsearch", "report", "mnist", "--output", str(file), *arguments)
    subprocess.run([sys.executable, *command], cwd=file.parent, env=clean_environment(), check=True)
    page.goto(file.as_uri())
    expect(page.locator(".main-svg").first).to_be_visible(timeout=60_000)
    save(page, "report.png", top=HEIGHT_OF_REPORT)


def save(page: Page, name: str, top: int | None = None) -> None:
    """Take a picture once nothing moves: what is in view, or so many pixels from the top."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)  # curves fade in
    path = DOCS / name
    clip = None if top is None else FloatRect(x=0, y=0, width=WIDTH, height=top)
    page.screenshot(path=path, full_page=clip is not None, clip=clip, animations="disabled")
    size = path.stat().st_size
    print(f"{path}: {size // 1000} kB" + (" TOO LARGE" if size > LARGEST else ""))
