"""What a worker's log says of one trial or auxiliary run."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from lrsearch.queue.endings import Ending
from lrsearch.states import in_words
from lrsearch.text.formatting import duration, number

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkLog:
    """The lines about one piece of work."""

    study: str
    what: str
    """`trial 3`, for example."""
    metric: str
    """Whose value is told at the end."""

    def begins(self, how: str, attempt: int) -> None:
        """How, such as with which recipe; which attempt this is."""
        again = f" (attempt {attempt})" if attempt > 1 else ""
        self._say(f"{self.what}{again}", how)

    def ends(self, outcome: Ending, seconds: float) -> None:
        """How, after so many seconds here."""
        reason = "" if outcome.reason is None else f" ({outcome.reason.strip().splitlines()[-1]})"
        value = "" if outcome.value is None else f", {self.metric} {number(outcome.value)}"
        ending = in_words(outcome.outcome)
        self._say(self.what, f"{ending}{reason}{value}, after {duration(seconds)}")

    def handed_back(self) -> None:
        """Any worker can go on with it."""
        self._say(self.what, "handed back")

    def left(self) -> None:
        """It could not be handed back."""
        self._say(self.what, "left to its lease, since the database does not answer")

    def lost(self) -> None:
        """Its lease ran out here."""
        self._say(self.what, "another worker has it now")

    def _say(self, what: str, said: str) -> None:
        _log.info("%s, %s: %s", self.study, what, said)
