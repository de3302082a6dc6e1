"""The dashboard in a real browser, as somebody sees it who looks at a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import chromium
from playwright.sync_api import Browser, Page, expect
from served_dashboard import Server, clean_environment, serving
from told_sweep import ToldSweep

from lrsearch.dashboard.refresh import stale
from lrsearch.states import Outcome

PATIENCE = 60_000  # milliseconds; the dashboard looks for news every few seconds
REASON = "the loss is not finite at step 3 (learning rate 0.5)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def sweep(folder: Path) -> Iterator[ToldSweep]:
    """Five trials that have ended, one diverged, and one that runs."""
    sweep = ToldSweep(f"sqlite:///{folder}/lrsearch.db", 12)
    for value in (0.5, 0.25, 0.75, 0.6, 0.4):
        sweep.trial(value)
    sweep.trial(1e-9, Outcome.DIVERGED, reason=REASON)
    sweep.begin()
    yield sweep
    sweep.close()


@pytest.fixture(scope="module")
def server(folder: Path, sweep: ToldSweep) -> Iterator[Server]:
    with serving(folder, clean_environment()) as server:
        yield server


@pytest.fixture
def errors() -> list[str]:
    """What the pages complained about."""
    return []


@pytest.fixture
def page(browser: Browser, errors: list[str]) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()


def address(server: Server, path: str = "") -> str:
    return f"http://127.0.0.1:{server.port}/dashboard{path}"


def wait_until_written(sweep: ToldSweep, page: Page) -> None:
    """The dashboard's own process has seen the latest."""
    while stale(sweep.database):
        page.wait_for_timeout(100)


def test_the_list_shows_the_study_and_leads_to_it(
    server: Server, page: Page, errors: list[str], sweep: ToldSweep
) -> None:
    page.goto(address(server))
    page.get_by_text(sweep.name, exact=False).first.click()
    page.wait_for_url(f"**/studies/{sweep.study_id}*")
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=PATIENCE)
    assert errors == []


def test_the_history_shows_the_figures_of_lrsearch(
    server: Server, page: Page, errors: list[str], sweep: ToldSweep
) -> None:
    wait_until_written(sweep, page)
    page.goto(address(server, f"/studies/{sweep.study_id}"))
    for name in ("lrsearch-curves", "lrsearch-rates", "lrsearch-loss-vs-lr"):
        figure = page.locator(f'[id="user-defined-plot:{name}"] .main-svg').first
        expect(figure).to_be_visible(timeout=PATIENCE)
    hidden(page, '[data-testid="UploadFileIcon"]')  # it is read-only
    assert errors == []


def test_the_note_shows_the_best_recipe_and_how_to_run_it(
    server: Server, page: Page, sweep: ToldSweep
) -> None:
    wait_until_written(sweep, page)
    page.goto(address(server, f"/studies/{sweep.study_id}/note"))
    expect(page.get_by_role("heading", name="The best recipe")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("lrsearch train digits --trial 1").first).to_be_visible()


def test_a_trial_is_shown_with_its_picture_and_why_it_ended(
    server: Server, page: Page, errors: list[str], sweep: ToldSweep
) -> None:
    wait_until_written(sweep, page)
    page.goto(address(server, f"/studies/{sweep.study_id}/trials?numbers=5"))
    for text in ("Losses and learning rate of trial 5", "trial-5.png"):  # in the note, attached
        expect(page.locator(f'img[alt="{text}"]').first).to_be_visible(timeout=PATIENCE)
        page.wait_for_function(f"() => document.querySelector('img[alt=\"{text}\"]').naturalWidth")
    expect(page.get_by_text(REASON).first).to_be_visible()
    assert errors == []


def test_the_list_shows_how_far_each_study_is_and_its_best_value(
    server: Server, page: Page, sweep: ToldSweep
) -> None:
    page.goto(address(server))
    card = page.locator(f'a[href$="/studies/{sweep.study_id}"]')
    expect(card).to_contain_text("6 of 12 trials ended, 1 running", timeout=PATIENCE)
    expect(card).to_contain_text("best val_loss 0.25 (trial 1)")
    expect(card.locator("progress")).to_have_js_property("value", 6)


def test_a_read_only_dashboard_hides_what_it_refuses(
    server: Server, page: Page, sweep: ToldSweep
) -> None:
    page.goto(address(server))
    expect(page.get_by_role("button", name="Reload")).to_be_visible(timeout=PATIENCE)
    hidden(page, 'button:has-text("Create")', '[aria-label="delete study"]',
           '[aria-label="rename study"]')  # fmt: skip
    page.goto(address(server, f"/studies/{sweep.study_id}/note"))
    expect(page.get_by_role("heading", name="The best recipe")).to_be_visible(timeout=PATIENCE)
    hidden(page, '[data-testid="EditIcon"]')


def hidden(page: Page, *selectors: str) -> None:
    """Each is there, so that the test cannot pass by a wrong name, and cannot be seen."""
    for selector in selectors:
        assert page.locator(selector).count() > 0, selector
        expect(page.locator(selector).first).to_be_hidden()


def test_a_diverged_trial_is_called_diverged(
    server: Server, page: Page, errors: list[str], sweep: ToldSweep
) -> None:
    page.goto(address(server, f"/studies/{sweep.study_id}/trials?numbers=5"))
    chips = page.locator("main .MuiChip-label", has_text="Diverged")
    expect(chips).to_have_count(2, timeout=PATIENCE)  # in the list, and above the trial
    expect(page.locator("main .MuiChip-label", has_text="Pruned")).to_have_count(0)
    assert errors == []


@pytest.mark.parametrize("path", ["", "/studies/{}", "/studies/{}/trials?numbers=5"])
def test_no_page_is_wider_than_a_phone(
    server: Server, browser: Browser, sweep: ToldSweep, path: str
) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 800}, is_mobile=True, has_touch=True)
    phone.goto(address(server, path.format(sweep.study_id)))
    expect(phone.get_by_text("digits").first).to_be_visible(timeout=PATIENCE)
    expect(phone.locator("main .MuiCard-root").first).to_be_visible(timeout=PATIENCE)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.close()


@pytest.mark.slow
def test_a_running_study_changes_without_a_reload(
    server: Server, page: Page, sweep: ToldSweep
) -> None:
    wait_until_written(sweep, page)
    page.goto(address(server, f"/studies/{sweep.study_id}/note"))
    expect(page.get_by_text("Trial 1:").first).to_be_visible(timeout=PATIENCE)
    page.evaluate("() => { window.mine = 'still the same page' }")
    best = sweep.trial(0.0625)
    expect(page.get_by_text(f"Trial {best.trial_number}:").first).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("() => window.mine") == "still the same page"
