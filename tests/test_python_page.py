"""The page on Python: its blocks, one after the other, are a script that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from documentation import REPO

PAGE = REPO / "docs" / "python.md"


@pytest.mark.slow
def test_the_blocks_of_the_page_are_a_script(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LRSEARCH_STORAGE", raising=False)
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # other tests run beside this one
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "__main__"}  # as a script has it
    for number, block in enumerate(blocks):
        exec(compile(block, f"block {number} of {PAGE.name}", "exec"), names)
    torch.set_num_threads(threads)
    assert names["best"].value < 1.0
    assert len(names["table"]) == 6
    assert names["page"].is_file()
    assert {*names["study"].trials().outcome} <= {"complete", "pruned"}
    assert len(names["study"].trials()) == 3
