"""Sentences on what mattered."""

from __future__ import annotations

from lrsearch.analysis.importance import HARDLY, LEAST_COMPLETE, SOLID, Importance
from lrsearch.analysis.sentence import Sentence, Table
from lrsearch.text.formatting import listed, percent, plural


def _enough(importance: Importance) -> bool:
    return importance.complete >= LEAST_COMPLETE


def _few(importance: Importance) -> str:
    are = "is" if importance.complete == 1 else "are"
    return (
        f"{plural(importance.complete, 'complete trial')} {are} too few to tell what mattered; it "
        f"takes {LEAST_COMPLETE}."
    )


def _first(importance: Importance) -> str:
    shares = listed([f"{name} ({percent(share)})" for name, share in importance.first])
    return (
        f"What set the best {plural(importance.top, 'trial')} apart from all "
        f"{importance.complete} complete ones most: {shares}."
    )


def _hardly(importance: Importance) -> str:
    each = "below" if len(importance.hardly) == 1 else "each below"
    return f"Hardly anything came of {listed(importance.hardly)} ({each} {percent(HARDLY)})."


def _unvaried(importance: Importance) -> str:
    return (
        f"How much {listed(importance.unvaried)} mattered cannot be told: the sampler chose nearly "
        f"the same value for most trials."
    )


IMPORTANCE: Table[Importance] = (
    Sentence("importance.few", lambda importance: not _enough(importance), _few),
    Sentence(
        "importance.nothing",
        lambda importance: _enough(importance) and not importance.shares,
        lambda _: "Nothing that was searched varied in a way that can be held against values.",
    ),
    Sentence("importance.first", lambda importance: bool(importance.first), _first),
    Sentence("importance.hardly", lambda importance: bool(importance.hardly), _hardly),
    Sentence("importance.unvaried", lambda importance: bool(importance.unvaried), _unvaried),
    Sentence(
        "importance.unjudged",
        lambda importance: bool(importance.unjudged),
        lambda importance: (
            f"Fewer than {LEAST_COMPLETE} complete trials had {listed(importance.unjudged)}: too "
            f"few to judge."
        ),
    ),
    Sentence(
        "importance.by_model",
        lambda importance: bool(importance.shares) and importance.by_model,
        lambda _: (
            "The sampler chose values near those that had done well, so a parameter that it soon "
            "settled on may matter more than its share says."
        ),
    ),
    Sentence(
        "importance.rough",
        lambda importance: bool(importance.shares) and importance.complete < SOLID,
        lambda _: f"With fewer than {SOLID} complete trials these shares are rough.",
    ),
)
