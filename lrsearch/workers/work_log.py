"""Log lines of a worker about one trial or auxiliary run."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from lrsearch.queue.endings import Ending
from lrsearch.states import in_words
from lrsearch.text.formatting import duration, number

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkLog:
    """Writes the log lines about one trial or auxiliary run."""

    study: str
    what: str
    """Name of the work, such as `trial 3`."""
    metric: str
    """Name of the metric whose value is logged at the end."""

    def begins(self, how: str, attempt: int) -> None:
        """Log that an attempt begins; `how` describes it, such as by its recipe."""
        again = f" (attempt {attempt})" if attempt > 1 else ""
        self._say(f"{self.what}{again}", how)

    def ends(self, outcome: Ending, seconds: float) -> None:
        """Log how the work ended, after `seconds` in this process."""
        reason = "" if outcome.reason is None else f" ({outcome.reason.strip().splitlines()[-1]})"
        value = "" if outcome.value is None else f", {self.metric} {number(outcome.value)}"
        ending = in_words(outcome.outcome)
        self._say(self.what, f"{ending}{reason}{value}, after {duration(seconds)}")

    def handed_back(self) -> None:
        """Log that the work was handed back: any worker may go on with it."""
        self._say(self.what, "handed back")

    def left(self) -> None:
        """Log that the work could not be handed back."""
        self._say(self.what, "left to its lease, since the database does not answer")

    def lost(self) -> None:
        """Log that another worker has taken the work over."""
        self._say(self.what, "another worker has it now")

    def _say(self, what: str, message: str) -> None:
        _log.info("%s, %s: %s", self.study, what, message)
