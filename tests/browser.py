"""A real browser for tests: headless Chromium, that of the machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip


def executable() -> str:
    """Where the browser is. Without one the test is skipped, or fails where one is required."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    reason = f"no browser here: install one of {', '.join(_NAMES)}"
    if os.environ.get("LRSEARCH_BROWSER_REQUIRED"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, for as long as it is needed."""
    path = executable()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()
