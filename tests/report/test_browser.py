"""The report in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


Open = Callable[..., Any]
PHONE = {"viewport": {"width": 390, "height": 740}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def opened(browser: Browser, address: str) -> Iterator[Open]:
    """Opens the report in a new page; fails the tests on any complaint or request."""
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


@pytest.fixture(scope="module")
def phone(opened: Open) -> Any:
    """The report on a phone."""
    return opened(**PHONE)


@pytest.fixture(scope="module")
def desk(opened: Open) -> Any:
    """The report on a desk, in light colours."""
    return opened(viewport={"width": 1200, "height": 900}, color_scheme="light")


def test_every_figure_is_drawn(desk: Any) -> None:
    page = desk
    empty = page.evaluate(
        # Of several rows the last one has a title: `x2title`.
        """[...document.querySelectorAll('.plot')].filter(p =>
            !p.querySelector('[class^=x][class$=title]')
            || !p.querySelector('.plot path, .plot .point'))"""
        ".map(p => p.id)"
    )
    assert empty == []
    assert page.locator(".plot").count() == 12


def test_a_phone_does_not_scroll_sideways(phone: Any) -> None:
    page = phone
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390


def test_on_a_phone_no_title_of_an_axis_is_cut(phone: Any) -> None:
    page = phone
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


@pytest.mark.parametrize("which", ["phone", "desk"])
def test_every_axis_of_the_parallel_coordinates_is_labelled_within_the_figure(
    request: pytest.FixtureRequest, which: str
) -> None:
    page = request.getfixturevalue(which)
    labels = page.evaluate(
        """() => {
          const plot = document.querySelector('#lrsearch-parallel');
          const left = plot.getBoundingClientRect().left;
          return [...plot.querySelectorAll('.ytick text')].map(
            text => [text.textContent, text.getBoundingClientRect().left - left]);
        }"""
    )
    assert len(labels) >= 3
    assert "val_loss" in labels[-1][0]
    assert [text for text, left in labels if left < 0] == []


def test_on_a_phone_every_legend_is_whole(phone: Any) -> None:
    page = phone
    hidden = page.evaluate(
        """() => [...document.querySelectorAll('.plot')].filter(plot => {
          const legend = plot.querySelector('.legend .bg');
          if (!legend) return false;
          const box = legend.getBoundingClientRect(), frame = plot.getBoundingClientRect();
          const area = plot.querySelector('.nsewdrag').getBoundingClientRect();
          const scrolls = plot.querySelector('.legend .scrollbar')?.getAttribute('height') > 0;
          return scrolls || box.top < frame.top - 1 || box.bottom > area.top + 1
            || area.height < 100;
        }).map(plot => plot.id)"""
    )
    assert hidden == []


def test_rows_of_numbers_are_one_line_high_on_a_phone(phone: Any) -> None:
    page = phone
    tallest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('#schedulers tbody tr')]"
        ".map(row => row.getBoundingClientRect().height))"
    )
    assert tallest < 45


def test_text_in_figures_has_the_colour_of_the_page_when_it_changes_too(desk: Any) -> None:
    ink, title = (
        f"getComputedStyle(document.querySelector('{what}'))" for what in ("body", ".xtitle")
    )
    same = f"() => {title}.fill === {ink}.color"
    desk.wait_for_function(same)
    light = desk.evaluate(f"{ink}.color")
    desk.emulate_media(color_scheme="dark")
    desk.wait_for_function(same)
    assert desk.evaluate(f"{ink}.color") != light
    desk.emulate_media(color_scheme="light")


def test_paper_shows_what_is_folded_and_figures_of_its_width(desk: Any) -> None:
    page = desk
    folded = "document.querySelectorAll('details:not([open])').length"
    widths = "[...document.querySelectorAll('.plot .main-svg:first-child')].map(p => p.clientWidth)"
    before = page.evaluate(folded), page.evaluate(widths)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate(folded) == 0
    assert set(page.evaluate(widths)) == {670}
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.wait_for_timeout(0)
    assert (page.evaluate(folded), page.evaluate(widths)) == before
    assert before[0] > 0
    assert page.pdf()[:5] == b"%PDF-"


def test_numbers_are_not_broken_at_their_hyphen(phone: Any) -> None:
    page = phone
    broken = page.evaluate(
        "[...document.querySelectorAll('.word')].filter(w => w.getClientRects().length > 1"
        " || w.getBoundingClientRect().height > 40).map(w => w.textContent)"
    )
    assert page.locator(".word").count() > 0
    assert broken == []


def test_code_is_copied(opened: Any) -> None:
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    button = page.locator(".copy").first
    button.click()
    page.wait_for_function("() => document.querySelector('.copy').textContent !== 'Copy'")
    assert button.text_content() in ("Copied", "Selected: press Ctrl-C")
