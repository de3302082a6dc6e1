"""What is said of a confirmation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from said import Example, check, names

from lrsearch.analysis.confirmed import Confirmed, over_words, value_words
from lrsearch.analysis.sentences.confirmed import CONFIRMED
from lrsearch.confirm.result import Confirmation, Over, Run, WinnerTest
from lrsearch.evaluation import SampleMeans

NOTHING = SampleMeans()
BY_HAND = SampleMeans(88, unknown="val_f1 is not a mean over samples")


def around(value: float, spread: float) -> SampleMeans:
    """Values on 88 samples with this mean, alternately higher and lower."""
    return SampleMeans(88, tuple(value + spread * (-1) ** k for k in range(88)))


def runs(trial: int, values: list[float], spread: float | SampleMeans = NOTHING) -> list[Run]:
    """Complete runs, a value a seed."""
    samples = [
        spread if isinstance(spread, SampleMeans) else around(value, spread) for value in values
    ]
    return [
        Run(trial, seed, "done", "complete", value, known)
        for seed, (value, known) in enumerate(zip(values, samples, strict=True))
    ]


def finding(found: list[Run], data: dict[str, int] | None, test: WinnerTest | None) -> Confirmed:
    """Of a search of 30 trials, in which trial `n` had the value n / 100."""
    search = {run.trial: run.trial / 100 for run in found}
    return Confirmed(Confirmation("val_loss", "min", search, 30, found, test), data)


DATA = {"n_test": 50}
ONE = finding(runs(3, [0.04, 0.06]), DATA, None)
TWO = finding([*runs(3, [0.04, 0.06]), *runs(7, [0.26, 0.27])], DATA, None)
TIE = finding([*runs(3, [0.04, 0.06]), *runs(7, [0.06, 0.04])], DATA, None)
SAMPLED = finding([*runs(3, [0.04, 0.06], 0.9), *runs(7, [0.26, 0.27], 0.9)], DATA, None)
UNKNOWN = finding([*runs(3, [0.04, 0.06], BY_HAND)], DATA, None)
GIVEN_UP = finding(
    [*runs(3, [0.04, 0.06]), *runs(7, [0.26, 0.27]), Run(7, 2, "done", "dropped")], DATA, None
)
BROKEN = finding([*runs(3, [0.04, 0.06]), Run(7, 0, "done", "out_of_memory")], DATA, None)
SCORES = [{"test_loss": 0.2, "test_accuracy": 0.9}, {"test_loss": 0.4, "test_accuracy": 0.9}]
TEST = WinnerTest(
    3, "done", "complete", None, SCORES, 1,
    [{name: around(value, 0.9) for name, value in scores.items()} for scores in SCORES],
)  # fmt: skip
TESTED = finding(runs(3, [0.04, 0.06]), DATA, TEST)
FAILED = replace(TEST, outcome="failed", reason="Trace\nUserError: gone", scores=[], samples=[])
NOT_TESTED = finding(runs(3, [0.04, 0.06]), DATA, FAILED)

EXAMPLES = {
    "confirmed.probability": Example(
        TWO,
        "It is the best of 2 candidates with probability 99 %; next is trial 7 with 0.265 (95 % "
        "interval 0.176 to 0.354 over training seeds), mean of 2 runs, 0.215 worse on the same "
        "seeds (95 % interval over seeds: 0.130 to 0.300 worse).",
        ONE,
    ),
    "confirmed.samples": Example(
        SAMPLED,
        "98 % of the variance of that value comes from the 88 validation samples: more of them "
        "would narrow the interval, more seeds hardly.",
        TWO,
    ),
    "confirmed.samples_unknown": Example(
        UNKNOWN,
        "How far other validation samples would move it is not known: val_f1 is not a mean over "
        "samples.",
        SAMPLED,
    ),
    "confirmed.found": Example(
        ONE, "Found in the search: 0.03 (optimistic: the best of 30)."
    ),
    "confirmed.given_up": Example(
        GIVEN_UP,
        "Trial 7 was clearly worse and got no further runs (a probability below 2 % of being the "
        "best).",
        TWO,
    ),
    "confirmed.broken": Example(
        BROKEN.confirmation.candidates[-1],
        "Trial 7 cannot be relied on: on fresh seeds, 1 out of memory of 1 runs did not come to "
        "their end.",
    ),
    "confirmed.test": Example(
        TESTED,
        "On the test part: test_loss 0.3 (-0.9 to 1.5), test_accuracy 0.90 (0.71 to 1.00), mean "
        "of 2 runs, with 95 % intervals over training seeds and over the 88 test samples; the test "
        "part was opened once, for this.",
        ONE,
    ),
    "confirmed.no_test_data": Example(
        replace(ONE, data=None),
        "There is no test score: lrsearch does not know the test data of your own objective.",
        ONE,
    ),
    "confirmed.no_test_part": Example(
        replace(ONE, data={"n_test": 0}),
        "There is no test score: these data have no test part.",
        ONE,
    ),
    "confirmed.test_failed": Example(
        NOT_TESTED, "There is no test score: the test failed (UserError: gone).", TESTED
    ),
    "confirmed.test_open": Example(ONE, "The test score is not there yet.", NOT_TESTED),
}  # fmt: skip


@pytest.mark.parametrize("name", names(CONFIRMED))
def test_a_sentence_is_said_where_it_is_true(name: str) -> None:
    check(CONFIRMED, name, EXAMPLES)


@pytest.mark.parametrize(
    ("over", "words"),
    [
        (Over("validation", True, True, 88),
         "over training seeds and over the 88 validation samples"),
        (Over("validation", True, False, 88),
         "over training seeds, on these 88 validation samples"),
        (Over("validation", True, False, None), "over training seeds"),
        (Over("test", False, True, 10_000), "over the 10,000 test samples"),
    ],
)  # fmt: skip
def test_an_interval_says_what_it_is_over(over: Over, words: str) -> None:
    assert over_words(over) == words


def test_a_confirmed_value_has_the_digits_that_its_interval_allows() -> None:
    assert value_words(SAMPLED.winner) == (
        "0.05 (95 % interval -0.16 to 0.26 over training seeds and over the 88 validation samples)"
    )
    assert value_words(finding(runs(3, [0.0512345]), None, None).winner) == (
        "0.05123 (of one training, which does not tell how far it may be off)"
    )


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.13, 0.30, "over seeds: 0.130 to 0.300 worse)"),
        (-0.05, 0.30, "over seeds: 0.05 better to 0.30 worse)"),
        (-0.001, 0.30, "over seeds: 0 to 0.30 worse)"),
    ],
)
def test_the_interval_of_a_difference_says_on_which_side_its_ends_are(
    low: float, high: float, words: str
) -> None:
    second = TWO.next
    assert second is not None
    assert second.estimate is not None
    gap = replace(second.estimate, behind=0.2, behind_low=low, behind_high=high)
    found = replace(second, estimate=gap)
    confirmation = replace(TWO.confirmation)
    confirmation.__dict__["candidates"] = (TWO.winner, found)
    (line,) = [
        sentence.text(replace(TWO, confirmation=confirmation))
        for sentence in CONFIRMED
        if getattr(sentence, "name", "") == "confirmed.probability"
    ]
    assert words in line


def test_candidates_that_are_equal_on_the_same_seeds_are_called_so() -> None:
    (line,) = [
        sentence.text(TIE)
        for sentence in CONFIRMED
        if getattr(sentence, "name", "") == "confirmed.probability"
    ]
    assert "equally good on the same seeds (95 % interval over seeds: 0.036 better to" in line
