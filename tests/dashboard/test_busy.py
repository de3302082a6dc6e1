"""Whether a request is being worked on."""

from __future__ import annotations

import contextlib
from typing import Any

from lrsearch.dashboard.busy import Busy


def test_a_request_counts_until_its_answer_is_there() -> None:
    busy, seen = Busy(), []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(busy.wait(0))
        if environ:
            raise ValueError("a defect")
        return []

    counted = busy.counted(application)
    assert busy.wait(0)
    counted({}, None)
    assert (seen, busy.wait(0)) == ([False], True)
    with contextlib.suppress(ValueError):
        counted({"broken": True}, None)
    assert busy.wait(0)
