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


def _trials(row: GoodRates) -> str:
    trials = plural(row.complete, "complete trial")
    if row.pruned:
        trials += f" and the forecasts of {plural(row.pruned, 'pruned one')}"
    return f"({trials})"


def _at(row: GoodRates) -> str:
    return f" at batch size {_curve(row).batch_size:.0f}" if row.aligned else ""


def _where(row: GoodRates) -> str:
    low, high = _basin(row).low, _basin(row).high
    return f"learning rates {number(low, 2)} to {number(high, 2)}{_at(row)} {_trials(row)}"


def _end(row: GoodRates) -> str:
    """The ends of the rates that were tried which the range reaches."""
    basin = _basin(row)
    ends = (("smallest", basin.open_low), ("largest", basin.open_high))
    return " and the ".join(name for name, reached in ends if reached)


def _range(row: GoodRates) -> str:
    basin = _basin(row)
    width = number(basin.width, 2)
    if not _open(row):
        return (
            f"a factor of {width} wide (95 % interval over trials {number(basin.width_low, 2)} to "
            f"{number(basin.width_high, 2)}), {_where(row)}"
        )
    if _ends_at_once(row):
        rate = number(basin.high if basin.open_high else basin.low, 2)
        return (
            f"not known, since the best lies at the {_end(row)} rate that was tried, "
            f"{rate}{_at(row)} {_trials(row)}"
        )
    return (
        f"at least a factor of {width} wide, up to the {_end(row)} rate that was tried: "
        f"{_where(row)}"
    )


def _ends_at_once(row: GoodRates) -> bool:
    """Whether the range is cut off by the end of the rates before it has any width to speak of."""
    return _open(row) and number(_basin(row).width, 2) == "1"


def _row(row: GoodRates) -> str:
    return f"{row.title}: {_range(row)}."


def _widest(basins: Basins) -> str:
    first = _known(basins)[0]
    return (
        f"The range of learning rates within 5 % of the best, by a smooth curve fitted to the "
        f"values, is for {first.title} {_range(first)}."
    )


ROW: Table[GoodRates] = (
    Sentence("basin.width", lambda row: not _open(row), _row),
    Sentence("basin.at_least", lambda row: _open(row) and not _ends_at_once(row), _row),
    Sentence("basin.at_the_end", _ends_at_once, _row),
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
        "basin.widest",
        lambda basins: bool(_known(basins)),
        _widest,
    ),
    ForEach(lambda basins: _known(basins)[1:], ROW),
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
