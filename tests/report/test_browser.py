"""The report in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium
from playwright.sync_api import Browser
from synthetic import sampled

from lrsearch.cli.report import report_page


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_page(sampled(120), "sqlite:///lrsearch.db", Path("best.yaml")))
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Any]:
    """Opens the report in a new page; fails the test on any complaint or request."""
    complaints: list[str] = []
    pages: list[Any] = []

    def open_page(**context: Any) -> Any:
        page = browser.new_context(offline=True, **context).new_page()
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith(("file:", "data:", "blob:"))
                else complaints.append(asked.url)
            ),
        )
        pages.append(page)
        page.goto(address)
        page.wait_for_function(
            "() => document.querySelectorAll('.plot .main-svg').length >= "
            "document.querySelectorAll('.plot').length"
        )
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert complaints == []


def test_every_figure_is_drawn(opened: Any) -> None:
    page = opened(viewport={"width": 1200, "height": 900})
    empty = page.evaluate(
        "[...document.querySelectorAll('.plot')]"
        ".filter(p => !p.querySelector('.xtitle') || !p.querySelector('.plot path, .plot .point'))"
        ".map(p => p.id)"
    )
    assert empty == []
    assert page.locator(".plot").count() == 10


def test_a_phone_does_not_scroll_sideways(opened: Any) -> None:
    page = opened(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360


def test_on_a_phone_no_title_of_an_axis_is_cut(opened: Any) -> None:
    page = opened(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    cut = page.evaluate(
        """() => [...document.querySelectorAll('.plot')].flatMap(plot => {
          const frame = plot.getBoundingClientRect();
          return [...plot.querySelectorAll('.xtitle')]
            .map(title => title.getBoundingClientRect())
            .filter(box => box.left < frame.left - 1 || box.right > frame.right + 1)
            .map(() => plot.id);
        })"""
    )
    assert cut == []


def test_every_axis_of_the_parallel_coordinates_is_labelled(opened: Any) -> None:
    page = opened(viewport={"width": 1200, "height": 900})
    labels = page.locator("#lrsearch-parallel .xtick text")
    assert "val_loss" in labels.nth(labels.count() - 1).text_content()
    assert labels.nth(labels.count() - 1).evaluate("e => getComputedStyle(e).display") != "none"


def test_rows_of_numbers_are_one_line_high_on_a_phone(opened: Any) -> None:
    page = opened(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    tallest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('#schedulers tbody tr')]"
        ".map(row => row.getBoundingClientRect().height))"
    )
    assert tallest < 45


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_in_figures_has_the_colour_of_the_page(opened: Any, scheme: str) -> None:
    page = opened(color_scheme=scheme)
    ink = page.evaluate("getComputedStyle(document.body).color")
    title = page.evaluate("getComputedStyle(document.querySelector('.xtitle')).fill")
    assert title == ink


def test_a_change_to_the_dark_scheme_reaches_the_figures(opened: Any) -> None:
    page = opened(color_scheme="light")
    ink = "getComputedStyle(document.body).color"
    light = page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        f"() => getComputedStyle(document.querySelector('.xtitle')).fill === {ink}"
    )
    assert page.evaluate(ink) != light


def test_it_prints(opened: Any) -> None:
    assert opened().pdf()[:5] == b"%PDF-"


def test_code_is_copied(opened: Any) -> None:
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    button = page.locator(".copy").first
    button.click()
    page.wait_for_function("() => document.querySelector('.copy').textContent !== 'Copy'")
    assert button.text_content() in ("Copied", "Selected: press Ctrl-C")
