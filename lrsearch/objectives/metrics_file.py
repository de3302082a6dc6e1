"""Reports from a file that a script writes by itself: CSV or JSON lines that grow."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lrsearch.objectives.channel import BadLine

LARGEST = 64 << 20
"""The most bytes of a file that are read."""
FILE, EPOCH = "file", "epoch"


class MetricsFile:
    """A file of metrics; each of its rows that has a value of every chosen column is a report.

    Rows that are there at the beginning were reported by an earlier attempt. A file that is
    written anew is read anew.
    """

    def __init__(self, path: Path, columns: Mapping[str, str], warn: Callable[[str], None]) -> None:
        """`columns` are the names of columns, or of keys in JSON, by the names of metrics."""
        self.path = path
        self.columns = dict(columns)
        """The names of columns by the names of metrics."""
        self._warn = warn
        self._seen: tuple[int, int] | None = None
        self._taken = 0
        self._from_zero: bool | None = None
        self._latest = -math.inf
        self._said: set[str] = set()
        self.columns_there: list[str] = []
        """The columns of the newest row, for messages."""
        for _ in self._new_rows():
            pass

    @property
    def exists(self) -> bool:
        """Whether there is a file."""
        return self.path.is_file()

    def reports(self, last: bool = False) -> Iterator[dict[str, float]]:
        """Yield the values of new rows by the names of metrics.

        With `last`, an incomplete line at the end counts, too.
        """
        for row in self._new_rows(last):
            try:
                values = self._values(row)
            except BadLine as error:
                self._say(str(error))
                continue
            if values is None:
                continue
            if values[EPOCH] <= self._latest:
                self._say(
                    f"a row of epoch {values[EPOCH]:g} after one of epoch {self._latest:g} is "
                    f"left out"
                )
                continue
            self._latest = values[EPOCH]
            yield values

    def _new_rows(self, last: bool = False) -> list[Mapping[str, Any]]:
        """The rows since the last call."""
        try:
            status = self.path.stat()
            state = (status.st_mtime_ns, status.st_size)
            if state == self._seen and not last:
                return []
            with self.path.open("rb") as file:
                text = file.read(LARGEST).decode("utf-8", "replace")
        except OSError:
            return []
        self._seen = state
        if not last:
            text = text[: text.rfind("\n") + 1]
        rows = list(self._parse(text.splitlines()))
        if len(rows) < self._taken:  # written anew
            self._taken, self._latest = 0, -math.inf
        if self._from_zero is None:
            epochs = (row.get(self.columns[EPOCH]) for row in rows)
            first = next((epoch for epoch in epochs if epoch not in (None, "")), None)
            self._from_zero = None if first is None else _is_zero(first)
        new, self._taken = rows[self._taken :], len(rows)
        return new

    def _parse(self, lines: list[str]) -> Iterator[Mapping[str, Any]]:
        lines = [line for line in lines if line.strip()]
        if lines and lines[0].lstrip().startswith("{"):
            for line in lines:
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    self._say(f"this line is not JSON: {line[:100]}")
                    row = {}
                # Lines may be of several kinds: one without a key has no value of it.
                yield dict.fromkeys(self.columns.values()) | (row if isinstance(row, dict) else {})
            return
        header: list[str] = []
        delimiter = "\t" if lines and "\t" in lines[0] else ","
        for cells in csv.reader(lines, delimiter=delimiter):
            words = [cell.strip() for cell in cells]
            # A script that resumes may write the header again.
            if not header or words == header:
                header = words
            else:
                yield dict(zip(header, words, strict=False))

    def _values(self, row: Mapping[str, Any]) -> dict[str, float] | None:
        """The values of a row; None where it has none of a column. Raises BadLine."""
        self.columns_there = list(row)
        if missing := [column for column in self.columns.values() if column not in row]:
            there = ", ".join(row) or "none"
            raise BadLine(f"there is no column {', '.join(missing)} (there: {there})")
        if any(row[column] in (None, "") for column in self.columns.values()):
            return None
        values = {name: _number(name, row[column]) for name, column in self.columns.items()}
        values[EPOCH] += bool(self._from_zero)
        return values

    def _say(self, problem: str) -> None:
        if problem not in self._said and len(self._said) < 20:
            self._said.add(problem)
            self._warn(f"objective.metrics: {self.path}: {problem}")


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise BadLine(f"{name}: {value!r} is not a number") from None


def _is_zero(value: Any) -> bool:
    try:
        return float(value) == 0
    except (TypeError, ValueError):
        return False
