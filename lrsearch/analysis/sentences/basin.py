"""Sentences on how sensitive training is to the learning rate."""

from __future__ import annotations

from lrsearch.analysis.basin import LEAST_COMPLETE, Basins, GoodRates
from lrsearch.analysis.response import Basin, Curve
from lrsearch.analysis.sentence import ForEach, Sentence, Table
from lrsearch.text.formatting import listed, number, plural


def _known(basins: Basins) -> list[GoodRates]:
    """Rows whose width is known, the widest first."""
    if basins.fixed is not None:
        return []
    known = [row for row in basins.rows if row.curve is not None]
    return sorted(known, key=lambda row: -(row.width or 0))


def _unknown(basins: Basins) -> list[str]:
    if basins.fixed is not None:
        return []
    return [row.title for row in basins.rows if row.curve is None]


def _basin(row: GoodRates) -> Basin:
    return _curve(row).basin


def _curve(row: GoodRates) -> Curve:
    assert row.curve is not None
    return row.curve


def _open(row: GoodRates) -> bool:
    return _basin(row).open_low or _basin(row).open_high


def _where(row: GoodRates) -> str:
    at = f" at batch size {_curve(row).batch_size:.0f}" if row.aligned else ""
    trials = plural(row.complete, "complete trial")
    if row.pruned:
        trials += f" and the forecasts of {plural(row.pruned, 'pruned one')}"
    low, high = _basin(row).low, _basin(row).high
    return f"learning rates {number(low, 2)} to {number(high, 2)}{at} ({trials})"


def _closed(row: GoodRates) -> str:
    basin = _basin(row)
    return (
        f"{row.title}: a factor of {number(basin.width, 2)} wide (95 % interval over trials "
        f"{number(basin.width_low, 2)} to {number(basin.width_high, 2)}), {_where(row)}."
    )


def _at_least(row: GoodRates) -> str:
    basin = _basin(row)
    ends = [
        name
        for name, reached in (("smallest", basin.open_low), ("largest", basin.open_high))
        if reached
    ]
    return (
        f"{row.title}: at least a factor of {number(basin.width, 2)} wide, up to the "
        f"{' and the '.join(ends)} rate that was tried: {_where(row)}."
    )


ROW: Table[GoodRates] = (
    Sentence("basin.width", lambda row: not _open(row), _closed),
    Sentence("basin.at_least", _open, _at_least),
)

BASIN: Table[Basins] = (
    Sentence(
        "basin.fixed",
        lambda basins: basins.fixed is not None,
        lambda basins: (
            f"Every trial had the learning rate {number(basins.fixed)}: how sensitive training is "
            f"to it is not known."
        ),
    ),
    Sentence(
        "basin.nothing",
        lambda basins: basins.fixed is None and not _known(basins),
        lambda _: (
            f"Too few trials to tell how wide the good basin is: it takes {LEAST_COMPLETE} "
            f"complete trials of one optimizer and scheduler (or batch size) at different "
            f"learning rates."
        ),
    ),
    Sentence(
        "basin.intro",
        lambda basins: bool(_known(basins)),
        lambda _: (
            "The range of learning rates within 5 % of the best of its group, by a smooth curve "
            "fitted to the values:"
        ),
    ),
    ForEach(_known, ROW),
    Sentence(
        "basin.few",
        lambda basins: bool(_known(basins)) and bool(_unknown(basins)),
        lambda basins: f"Too few trials to tell: {listed(_unknown(basins))}.",
    ),
    Sentence(
        "basin.others",
        lambda basins: bool(_known(basins)),
        lambda _: (
            "Other parameters may have varied, too: the curve is that of a training in which they "
            "are as they were on average."
        ),
    ),
)
