"""How long a process waits for a database that does not answer, or has no free connection."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from lrsearch.errors import LrsearchError, UserError
from lrsearch.settings import QueueSettings
from lrsearch.storage.database import unusable, why
from lrsearch.storage.outages import is_full, origin, passes, persist, trouble
from lrsearch.text.formatting import duration
from lrsearch.text.redaction import redacted
from lrsearch.workers.stop import Stop

T = TypeVar("T")

VARIABLE = "LRSEARCH_PATIENCE"
"""The environment variable with the default of `queue.patience`."""
_MORE = (
    "for more workers raise max_connections of the server, or put a pooler such as PgBouncer "
    "before it"
)

_log = logging.getLogger(__name__)


class DatabaseSilent(LrsearchError):
    """The database has not answered for as long as the process waits for it."""


def default_patience(environment: Mapping[str, str] = os.environ) -> float:
    """Return the seconds for which a worker waits before it has loaded a study.

    Raises UserError.
    """
    given = environment.get(VARIABLE)
    if given is None:
        return QueueSettings().patience
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"{VARIABLE}: {given!r} is not a number of seconds from 0")
    return seconds


class Patience:
    """Measures for how long the database has not answered, and says why once."""

    def __init__(
        self,
        url: str,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = _log.warning,
    ) -> None:
        self._url, self._clock, self._say = url, clock, say
        self.seconds = seconds
        """Seconds without an answer after which the process gives up."""
        self._since: float | None = None
        self._said: set[str] = set()

    def answered(self) -> None:
        """Note an answer of the database."""
        if self._said:
            self._say("the database answers")
        self._since, self._said = None, set()

    def failed(self, error: BaseException) -> None:
        """Note that the database did not answer. Raises DatabaseSilent after `seconds` of that."""
        now, reason = self._clock(), why(self._url, origin(error))
        self._since = now if self._since is None else self._since
        what = "has no free connection" if is_full(error) else "does not answer"
        if now - self._since >= self.seconds:
            raise DatabaseSilent(
                f"the database {redacted(self._url)} {what}; waited {duration(self.seconds)} for "
                f"it (queue.patience): {reason}"
            ) from error
        if what not in self._said:
            self._said.add(what)
            advice = f" ({_MORE})" if is_full(error) else ""
            self._say(
                f"the database {what}: waiting up to {duration(self.seconds)} for it "
                f"(queue.patience): {reason}{advice}"
            )


def first_contact(open_: Callable[[], T], url: str, patience: Patience, stop: Stop) -> T | None:
    """Open the database as soon as it answers; None where the worker is told to stop meanwhile.

    Raises DatabaseSilent, and UserError where the database does not let this process in.
    """
    try:
        opened = persist(open_, stop.wait, patience.failed)
    except LrsearchError as error:
        if not passes(error):
            raise
        return None
    except Exception as error:
        if trouble(error) is None:
            raise
        if not passes(error):
            raise unusable(url, error) from error
        return None
    patience.answered()
    return opened
