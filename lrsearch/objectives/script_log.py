"""What a script prints: kept in a file, with its last part in memory."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path
from typing import BinaryIO, Protocol

from lrsearch.files import new_file
from lrsearch.text.formatting import byte_size
from lrsearch.text.redaction import redacted

LARGEST_LOG = 64 << 20
"""Bytes of a log file; of what a script prints beyond that, only the last part is added."""
TAIL = 8_000
"""Characters of the last part, which is stored with a failure."""
_RECENT = 4 * TAIL

_log = logging.getLogger(__name__)


class Log(Protocol):
    """Receiver of what a script prints."""

    def write(self, text: str) -> None:
        """Receive the next lines, or a part of a very long one. Does not raise."""

    def close(self) -> None:
        """Receive the end."""

    @property
    def tail(self) -> str:
        """The last part, without secrets."""

    @property
    def recent(self) -> str:
        """A longer last part, in which causes are looked for."""


class Tail:
    """The last part of a text that arrives in pieces, without secrets."""

    def __init__(self) -> None:
        self._pieces: deque[str] = deque()
        self._length = 0

    def write(self, text: str) -> None:
        """Add a piece."""
        self._pieces.append(text)
        self._length += len(text)
        while self._length - len(self._pieces[0]) > _RECENT:
            self._length -= len(self._pieces.popleft())

    def close(self) -> None:
        """Do nothing."""

    @property
    def tail(self) -> str:
        """The last TAIL characters."""
        return self.recent[-TAIL:]

    @property
    def recent(self) -> str:
        """The last characters, more than in the tail."""
        return "".join(self._pieces)[-_RECENT:]


class LogFile(Tail):
    """A log file of at most LARGEST_LOG bytes and the last part of what came after."""

    def __init__(self, path: Path) -> None:
        """Create the file, or replace it; where that fails, warn and keep the tail alone."""
        super().__init__()
        self._path = path
        self._size = self._left_out = 0
        self._file: BinaryIO | None = None
        try:
            self._file = new_file(path)
        except OSError as error:
            self._warn(error)

    def write(self, text: str) -> None:
        """Write a piece, secrets redacted."""
        text = redacted(text)
        super().write(text)
        if self._size + len(text) > LARGEST_LOG:
            self._left_out += len(text)
            return
        self._append(text)

    def close(self) -> None:
        """Write the last part of what was left out, and close the file."""
        if self._left_out:
            rest = max(0, self._left_out - len(self.tail))
            self._append(f"\n... {byte_size(rest)} are left out ...\n{self.tail}")
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, text: str) -> None:
        if self._file is None:
            return
        data = text.encode("utf-8", "backslashreplace")
        self._size += len(data)
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            self._warn(error)
            self._file = None

    def _warn(self, error: OSError) -> None:
        _log.warning("cannot write to %s, the training goes on: %s", self._path, error.strerror)


class Printed(Tail):
    """What a script prints is printed here, too."""

    def write(self, text: str) -> None:
        text = redacted(text)
        super().write(text)
        print(text, end="", flush=True)
