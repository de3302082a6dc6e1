"""Files of a study's results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lrsearch.cli.results import write_whole


def test_a_file_is_written_whole_or_the_old_one_stays_and_nothing_beside_it(tmp_path: Path) -> None:
    def pieces() -> Iterator[str]:
        yield "half"
        raise ValueError("the database is gone")

    path = tmp_path / "folder" / "file"
    write_whole(path, ["one, ", "two"])
    with pytest.raises(ValueError, match="gone"):
        write_whole(path, pieces())
    assert path.read_text() == "one, two"
    assert list(path.parent.iterdir()) == [path]
    write_whole(path, "three")
    assert path.read_text() == "three"
