"""Lines on stderr that say what is being read, and how far it is."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from lrsearch.text.formatting import duration

INTERVAL = 2.0
"""Seconds between two lines."""


@contextlib.contextmanager
def announced(what: str, done: Callable[[], str] | None = None) -> Iterator[None]:
    """Print `what` on stderr every `INTERVAL` seconds while the block runs.

    `done` returns what is done so far, such as "12 of 64 items". It is called in another thread.
    """
    stream = sys.stderr  # before the block redirects it
    started, over = time.monotonic(), threading.Event()

    def print_lines() -> None:
        while not over.wait(INTERVAL):
            # The counted thing may be half made, and the stream closed.
            with contextlib.suppress(Exception):
                so_far = "" if done is None else f"{done()}, "
                seconds = duration(time.monotonic() - started)
                print(f"{what}: {so_far}{seconds}", file=stream, flush=True)

    thread = threading.Thread(target=print_lines, name="progress of data", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(INTERVAL)
