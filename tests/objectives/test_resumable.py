"""When a training is saved, what it goes on from, and what it reports then."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from reports import Collected
from small_training import STEPS, same_weights, small_task, timeless

from lrsearch.checkpoints.pace import Pace
from lrsearch.checkpoints.store import NoCheckpoints, Store
from lrsearch.cli.compose import load_settings
from lrsearch.data.prepare import prepare
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.base import Objective
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.resumable import Resumable
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.training.loop import Stopped, Training
from lrsearch.training.settings import TrainSettings

FACTS = {"model": "small", "data": "images"}


class Recorded:
    """Checkpoints that are kept in memory, each with the step it was saved at."""

    folder = "nowhere"

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []

    @property
    def steps(self) -> list[int]:
        return [one["step"] for one in self.states]

    def save(self, state: Any) -> None:
        self.states.append(dict(state))

    def load(self) -> dict[str, Any] | None:
        return self.states[-1] if self.states else None

    def clear(self) -> None:
        self.states = []


class StopsAt(Collected):
    """Ends the training at an evaluation."""

    def __init__(self, index: int, error: Exception) -> None:
        super().__init__()
        self.index, self.error = index, error

    def __call__(self, evaluation: Evaluation) -> None:
        super().__call__(evaluation)
        if evaluation.index == self.index:
            raise self.error


def free() -> Pace:
    """Saving costs nothing: each evaluation has its checkpoint."""
    return Pace(clock=lambda: 0.0, first_after=0.0)


def dear() -> Pace:
    """Saving takes as long as training: the first evaluation alone has its checkpoint."""
    return Pace(clock=itertools.count().__next__, first_after=0.0)


def begin(should_stop: Callable[[int], bool] = lambda step: False, **changes: Any) -> Any:
    """Makes the training anew; it is asked to stop by its step."""

    def make() -> Training:
        training = Training(small_task(**changes))
        training.task.should_stop = lambda: should_stop(training.step)
        return training

    return make


def whole(**changes: Any) -> tuple[list[str], dict[str, torch.Tensor]]:
    seen = Collected()
    weights = Resumable(begin(**changes), NoCheckpoints(), FACTS).run(seen)
    return timeless(seen), dict(weights)


# When it saves


def test_it_saves_at_each_evaluation_and_epoch_but_the_last_where_that_costs_nothing() -> None:
    checkpoints = Recorded()
    Resumable(begin(), checkpoints, FACTS, free()).run(Collected())
    assert checkpoints.steps == [4, 6, 8, 12, 16, 18, 20, 24]


def test_where_saving_is_dear_it_saves_once() -> None:
    checkpoints = Recorded()
    Resumable(begin(), checkpoints, FACTS, dear()).run(Collected())
    assert checkpoints.steps == [4]


def test_what_was_asked_for_is_saved_and_nothing_twice() -> None:
    checkpoints = Recorded()
    settings = TrainSettings(checkpoint_every=5)
    Resumable(begin(settings=settings), checkpoints, FACTS, free()).run(Collected())
    assert checkpoints.steps == [4, 5, 6, 8, 10, 12, 15, 16, 18, 20, 24, 25]


def test_what_was_asked_for_is_saved_whatever_it_costs() -> None:
    checkpoints = Recorded()
    settings = TrainSettings(checkpoint_every=7)
    Resumable(begin(settings=settings), checkpoints, FACTS, dear()).run(Collected())
    assert checkpoints.steps == [4, 7, 14, 21]


def test_a_stop_in_mid_epoch_is_saved_at_its_very_step() -> None:
    checkpoints = Recorded()
    with pytest.raises(Stopped):
        Resumable(begin(lambda step: step == 7), checkpoints, FACTS, dear()).run(Collected())
    assert checkpoints.steps == [4, 7]


def test_a_stop_by_the_report_is_saved_with_its_evaluation() -> None:
    checkpoints = Recorded()
    with pytest.raises(Stopped):
        Resumable(begin(), checkpoints, FACTS, dear()).run(StopsAt(3, Stopped()))
    assert checkpoints.steps == [4, 12]
    assert [one["index"] for one in checkpoints.states[-1]["history"]] == [1, 2, 3]


def test_a_trial_that_ends_otherwise_is_not_saved() -> None:
    checkpoints = Recorded()
    with pytest.raises(KeyError):
        Resumable(begin(), checkpoints, FACTS).run(StopsAt(1, KeyError("pruned")))
    assert checkpoints.steps == []


# What it goes on from


@pytest.mark.parametrize("stop_at", [1, 4, 7, 26])
def test_stopped_and_taken_over_it_ends_as_one_that_ran_through(
    stop_at: int, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"scheduler": "plateau", "optimizer": "adamw"}
    slot = Store(str(tmp_path)).trial_slot("study", 0)
    with pytest.raises(Stopped):
        Resumable(begin(lambda step: step == stop_at, **changes), slot, FACTS).run(Collected())
    seen = Collected()
    slot = Store(str(tmp_path)).trial_slot("study", 0)
    weights = Resumable(begin(**changes), slot, FACTS).run(seen)
    evaluations, expected = whole(**changes)
    assert timeless(seen) == evaluations
    assert same_weights(dict(weights), expected)


def test_from_memory_like_from_a_file_system(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    for stop_at in (5, 11, 19):
        slot = Store(url).trial_slot("study", 0)
        with pytest.raises(Stopped):
            Resumable(begin(lambda step, at=stop_at: step == at), slot, FACTS).run(Collected())
    seen = Collected()
    Resumable(begin(), Store(url).trial_slot("study", 0), FACTS).run(seen)
    assert timeless(seen) == whole()[0]
    Store(url).delete("study")


def test_what_has_been_is_given_back_once_and_before_anything_else() -> None:
    told: list[Any] = []

    class Told:
        def __call__(self, evaluation: Evaluation) -> None:
            told.append(evaluation.index)

        number = None

        def warn(self, message: str) -> None:
            raise AssertionError(message)

        def progress(self) -> None:
            pass

        def restore(self, history: Sequence[Evaluation]) -> None:
            told.append([one.index for one in history])

        def rewind(self, epoch: float, step: float = math.inf) -> int:
            raise AssertionError("only the user's own training rewinds")

    checkpoints = Recorded()
    with pytest.raises(Stopped):
        Resumable(begin(lambda step: step == 10), checkpoints, FACTS).run(Told())
    assert told == [[], 1, 2]
    told.clear()
    Resumable(begin(), checkpoints, FACTS).run(Told())
    assert told == [[1, 2], 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("facts", "changes"),
    [
        ({**FACTS, "data": "others"}, {}),
        ({**FACTS, "model": "another"}, {}),
        (FACTS, {"scheduler": "linear"}),
        (FACTS, {"optimizer": "adamw"}),
        (FACTS, {"settings": TrainSettings(amp="bf16")}),
        (FACTS, {"augment": False}),
    ],
)
def test_a_checkpoint_of_another_training_is_left_aside(
    facts: dict[str, str], changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Recorded()
    with pytest.raises(Stopped):
        Resumable(begin(lambda step: step == 10), checkpoints, FACTS).run(Collected())
    seen = Collected()
    Resumable(begin(**changes), checkpoints, facts).run(seen)
    assert timeless(seen) == whole(**changes)[0]
    assert "belongs to another training" in caplog.text


def test_what_may_change_from_run_to_run_makes_no_other_training() -> None:
    checkpoints = Recorded()
    with pytest.raises(Stopped):
        Resumable(begin(lambda step: step == 10), checkpoints, FACTS).run(Collected())
    stopped_after = len(checkpoints.steps)
    settings = TrainSettings(checkpoint_every=7, keep_best=0, threads=2, micro_batch=64)
    Resumable(begin(settings=settings), checkpoints, FACTS, free()).run(Collected())
    assert checkpoints.steps[stopped_after:] == [12, 14, 16, 18, 20, 21, 24]


def test_a_model_whose_code_has_changed_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    def other() -> Training:
        task = small_task()
        task.model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3))
        return Training(task)

    checkpoints = Recorded()
    with pytest.raises(Stopped):
        Resumable(begin(lambda step: step == 10), checkpoints, FACTS).run(Collected())
    seen = Collected()
    Resumable(other, checkpoints, FACTS).run(seen)
    assert [one.index for one in seen] == [1, 2, 3, 4, 5, 6, 7]
    assert "the code has changed" in caplog.text


def test_a_store_that_takes_nothing_leaves_the_training_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    slot = Store(str(tmp_path / "file")).trial_slot("study", 0)
    seen = Collected()
    with caplog.at_level(logging.WARNING):
        Resumable(begin(), slot, FACTS, free()).run(seen)
    assert seen[-1].step == STEPS
    assert len(caplog.records) == 1


# The objectives


@pytest.fixture
def objective(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Objective]:
    monkeypatch.setenv("LRSEARCH_CACHE", str(cache))

    def build(*overrides: str) -> Objective:
        settings = load_settings(["+sweep=digits", "train.epochs=4", *overrides])
        info = None if settings.objective else prepare(settings.data)
        return build_objective(settings, info and info.to_json())

    return build


RECIPE = Recipe(
    lr=0.05,
    batch_size=64,
    optimizer=ComponentConfig("sgd", {"momentum": 0.9}),
    scheduler=ComponentConfig("cosine"),
)


def test_lrsearchs_own_training_goes_on_and_gives_its_weights(
    objective: Callable[..., Objective], tmp_path: Path
) -> None:
    expected = Collected()
    final = objective().run(RECIPE, 1, expected, lambda: False, NoCheckpoints())
    asked = 0

    def stop_once() -> bool:
        nonlocal asked
        asked += 1
        return asked == 21

    slot = Store(str(tmp_path)).trial_slot("study", 0)
    with pytest.raises(Stopped):
        objective().run(RECIPE, 1, Collected(), stop_once, slot)
    seen = Collected()
    weights = objective().run(
        RECIPE, 1, seen, lambda: False, Store(str(tmp_path)).trial_slot("study", 0)
    )
    assert timeless(seen) == timeless(expected)
    assert final is not None
    assert weights is not None
    assert same_weights(dict(weights), dict(final))


OWN = """
from pathlib import Path

def objective(recipe, report, checkpoint_dir):
    done = Path(checkpoint_dir) / "done"
    first = int(done.read_text()) if done.exists() else 0
    for epoch in range(first, 4):
        report(epoch + 1, 1.0 / (epoch + 1))
        done.write_text(str(epoch + 1))
"""


def test_the_users_own_function_finds_its_files_again(
    objective: Callable[..., Objective], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ownpkg.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = objective("objective._target_=ownpkg.objective")
    slot = Store(str(tmp_path / "store")).trial_slot("study", 0)
    with pytest.raises(Stopped):
        own.run(RECIPE, 1, StopsAt(3, Stopped()), lambda: False, slot)
    seen = Collected()
    assert own.run(RECIPE, 1, seen, lambda: False, slot) is None
    assert [one.epoch for one in seen] == [3, 4]
    again = Collected()
    assert own.run(RECIPE, 1, again, lambda: False, NoCheckpoints()) is None
    assert [one.epoch for one in again] == [1, 2, 3, 4]
