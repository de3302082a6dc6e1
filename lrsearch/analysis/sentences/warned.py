"""Warnings about a study as a whole."""

from __future__ import annotations

from lrsearch.analysis.sentence import Sentence, Table
from lrsearch.analysis.warned import Warned
from lrsearch.text.formatting import plural


def _trials(warned: Warned) -> str:
    has = "has a warning" if warned.trials == 1 else "have warnings"
    end = "" if warned.line.endswith((".", "!", "?")) else "."
    return (
        f"WARNING: {plural(warned.trials, 'trial')} {has}; trial {warned.first}: {warned.line}{end}"
    )


WARNED: Table[Warned] = (
    Sentence(
        "warned.stand_in",
        lambda warned: warned.stand_in is not None,
        lambda warned: (
            f"WARNING: {warned.stand_in}. Do not use these numbers for the data that you wanted."
        ),
        is_warning=True,
    ),
    Sentence("warned.trials", lambda warned: warned.trials > 0, _trials, is_warning=True),
)
