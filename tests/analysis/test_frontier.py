"""Where training breaks."""

from __future__ import annotations

from synthetic import recipe, study_of, trial

from lrsearch.analysis.frontier import find_frontier


def test_the_border_is_between_what_survived_and_what_diverged() -> None:
    trials = [
        trial(0, recipe(0.1, 32), 1.0),
        trial(1, recipe(0.4, 32), 1.0, "pruned"),
        trial(2, recipe(0.8, 32), None, "diverged", end_step=12),
        trial(3, recipe(2.0, 32), None, "diverged", end_step=4),
        trial(4, recipe(2.0, 64), 1.0),
    ]
    frontier = find_frontier(study_of(trials))
    border = frontier.borders[0]
    assert (border.lowest_diverged, border.highest_survived) == (0.8, 0.4)
    assert frontier.steps == (4, 12)
    lines = frontier.sentences()
    assert "2 of 5 trials diverged (40 %), half of them by step 8, the last at step 12" in lines[0]
    assert "the smallest learning rate that diverged is 0.8" in lines[1]
    assert len(lines) == 2  # nothing diverged at 64


def test_an_overlap_is_said_not_to_be_decided_by_the_rate() -> None:
    trials = [
        trial(0, recipe(0.9), 1.0),
        trial(1, recipe(0.5), None, "diverged", end_step=1),
    ]
    assert "the rate alone does not decide" in find_frontier(study_of(trials)).sentences()[1]


def test_no_divergence_is_said() -> None:
    lines = find_frontier(study_of([trial(0, recipe(), 1.0)])).sentences()
    assert "None of 1 trial diverged" in lines[0]


def test_memory_that_ran_out_is_told_by_batch_size() -> None:
    trials = [trial(k, recipe(0.1, 512), None, "out_of_memory") for k in range(2)]
    frontier = find_frontier(study_of(trials))
    assert frontier.out_of_memory == ((512, 2),)
    assert any("512 (2×)" in line for line in frontier.sentences())
