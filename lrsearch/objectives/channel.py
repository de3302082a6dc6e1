"""The channel between a script and its worker: files in a private folder of the attempt.

| file | written by | what it holds |
|---|---|---|
| `trial.json` | worker | recipe, seed, number, epochs, device and folder of the trial |
| `recipe.yaml` | worker | recipe and seed, as in a `best.yaml` |
| `reports.jsonl` | script | a report in each line |
| `answers.jsonl` | worker | an answer to each of them, in the same order |
| `stop` | worker | exists once the script is to leave its training |
| `calls` | script | the number of calls of `should_stop` by rank 0, and the first one to stop at |
| `weights` | script | what `keep_weights` was given last |

`$LRSEARCH_TRIAL` names the folder, `$LRSEARCH_REPORT` the file of reports. A line of it is a JSON
object such as `{"epoch": 1, "val_loss": 0.3}`; it may be wrapped: `{"lrsearch": {...}}`, which is
how a script prints it. An answer is `{"epoch": 1, "answer": "continue"}`, or another of `Answer`.
"""

from __future__ import annotations

import json
import math
import os
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lrsearch.text.hints import as_given

TRIAL_VARIABLE, REPORT_VARIABLE = "LRSEARCH_TRIAL", "LRSEARCH_REPORT"
RECIPE_VARIABLE = "LRSEARCH_RECIPE"
"""Names the file of the recipe where a script is run by hand."""
KEY = "lrsearch"
"""The key of a report that is printed."""
DETAILS = ("asks", "groups", "verified", "rank", "metrics", "details")
"""Keys of a report that are no values."""
MEASURED = ("lr_start", "grad_norm", "clipped", "seconds", "early_end")
"""Fields of an evaluation that lrsearch's own loop measures, and sends as `details`."""
_MARK = f'{{"{KEY}"'
_MOST_AT_ONCE = 1 << 20
_LONGEST_LINE = 1 << 20
_CALLS = struct.Struct("<qq")
_NOT_FINITE = ("nan", "inf", "-inf", "infinity", "-infinity")


class Answer(StrEnum):
    """What the worker answers to a report."""

    CONTINUE = "continue"
    PRUNE = "prune"
    """The pruner has ended the trial."""
    STOP = "stop"
    """The worker must leave the training: another one may go on with it."""
    END = "end"
    """The trial has ended, as `message` says: its loss is not finite, or the report is refused."""


@dataclass(frozen=True)
class Attempt:
    """The folder of an attempt."""

    folder: Path

    @property
    def trial(self) -> Path:
        """The facts about the trial."""
        return self.folder / "trial.json"

    @property
    def recipe(self) -> Path:
        """The recipe."""
        return self.folder / "recipe.yaml"

    @property
    def reports(self) -> Path:
        """The reports."""
        return self.folder / "reports.jsonl"

    @property
    def answers(self) -> Path:
        """The answers."""
        return self.folder / "answers.jsonl"

    @property
    def stop(self) -> Path:
        """The order to leave the training."""
        return self.folder / "stop"

    @property
    def calls(self) -> Path:
        """The calls of `should_stop`."""
        return self.folder / "calls"

    @property
    def weights(self) -> Path:
        """The weights to keep."""
        return self.folder / "weights"


class GrowingFile:
    """A text file that another process appends lines to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        self._rest = b""

    def lines(self, last: bool = False) -> list[str]:
        """Return the lines that are new since the last call; with `last`, an incomplete one, too.

        At most a MiB at once, and less of a longer line. None while there is no file.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._position)
                data = file.read(_MOST_AT_ONCE)
        except OSError:
            return []
        self._position += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE or (last and not data and self._rest):
            lines, self._rest = [*lines, self._rest], b""
        return [line.decode("utf-8", "replace") for line in lines if line.strip()]


def append(path: Path, message: Mapping[str, Any]) -> None:
    """Append a message as a line, in one write, as several processes may append."""
    line = json.dumps(message) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


class BadLine(ValueError):
    """A line that is meant as a report and is none; the message says why."""


def printed_messages(text: str) -> list[str]:
    """Return the reports among printed lines, without the text before them in their lines."""
    if _MARK not in text:
        return []
    return [line[line.index(_MARK) :] for line in text.splitlines() if _MARK in line]


def read_message(line: str) -> dict[str, Any]:
    """Read a line of the file of reports. Raises BadLine."""
    try:
        message, _ = json.JSONDecoder().raw_decode(line.strip())
    except (ValueError, RecursionError) as error:
        raise BadLine(f"this is not JSON ({error}): {_shown(line)}") from None
    if isinstance(message, dict) and isinstance(message.get(KEY), dict):
        message = message[KEY]
    if not isinstance(message, dict):
        raise BadLine(f'this is not an object such as {{"epoch": 1, "val_loss": 0.3}}: {line}')
    return message


def numbers(message: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a report by name; null and "nan" are NaN. Raises BadLine."""
    values: dict[str, float] = {}
    for name, value in message.items():
        if name == "optimizer":
            raise BadLine("optimizer: this name is taken; give the value another one")
        if value is None and name in ("epoch", "step", "lr"):
            continue
        if value is None:
            value = math.nan
        if isinstance(value, str) and value.strip().lower() in _NOT_FINITE:
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadLine(f"{name}: {as_given(value)[:100]} is not a number")
        values[name] = float(value)
    if not {"epoch", "step"} & values.keys():
        raise BadLine(f"it has neither epoch nor step: {_shown(json.dumps(dict(message)))}")
    if len(values) == len({"epoch", "step", "lr"} & values.keys()):
        raise BadLine(f"it has no value but {', '.join(values)}")
    return values


def _shown(line: str) -> str:
    return line.strip()[:200]


# Calls of should_stop


class Calls:
    """The file of the calls of `should_stop`, by which all ranks leave at the same call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def write(self, calls: int, stop_at: int) -> None:
        """Publish, as rank 0, how many calls are decided; `stop_at` is the first to stop at."""
        os.pwrite(self._open(), _CALLS.pack(calls, stop_at), 0)

    def read(self) -> tuple[int, int]:
        """The numbers that `write` has published last; zeros before."""
        data = os.pread(self._open(), _CALLS.size, 0)
        return (0, 0) if len(data) < _CALLS.size else _CALLS.unpack(data)

    def touch(self) -> None:
        """Show that the script is alive."""
        os.utime(self._open())

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        return self._descriptor


def wait_for(condition: Callable[[], bool], seconds: float, longest: float) -> bool:
    """Wait until a condition holds, at most `seconds`, with pauses that grow up to `longest` s."""
    until, pause = time.monotonic() + seconds, 0.0005
    while not condition():
        if time.monotonic() >= until:
            return False
        time.sleep(pause)
        pause = min(longest, 1.5 * pause)
    return True
