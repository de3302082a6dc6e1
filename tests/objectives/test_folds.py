"""Cross-validation: a trial is the trainings on its folds, and its value is their mean."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from reports import Collected
from small_training import LENGTH, STEPS, images, same_weights, small_task, timeless

from lrsearch.cli.compose import load_settings
from lrsearch.data.parts import Parts
from lrsearch.data.prepare import prepare, prepared
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.objectives.folds import FoldedTraining, fold_seed
from lrsearch.objectives.resumable import Resumable
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.seeds import seed_everything
from lrsearch.settings import MetricSettings
from lrsearch.training.loop import Stopped, Training
from lrsearch.training.settings import Averaging, EarlyStopping, TrainSettings
from lrsearch.workers.reporter import value_of

FOLDS = 3


class Recorded:
    """Checkpoints in memory; each is a copy of what was saved."""

    folder = "nowhere"

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []

    def save(self, state: Any) -> None:
        self.states.append(copy.deepcopy(dict(state)))

    def load(self) -> dict[str, Any] | None:
        return self.states[-1] if self.states else None

    def clear(self) -> None:
        self.states = []


def on_fold(fold: int, **changes: Any) -> Training:
    """A training of its own for each fold: other data and another seed."""
    task = small_task(parts=Parts(images(100, fold), images(40, 10 + fold), None), **changes)
    seed_everything(fold_seed(5, fold))
    for module in task.model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return Training(dataclasses.replace(task, seed=fold_seed(5, fold)))


def folded(metric: MetricSettings | None = None, **changes: Any) -> FoldedTraining:
    return FoldedTraining(lambda fold: on_fold(fold, **changes), FOLDS, metric or MetricSettings())


def single(**changes: Any) -> list[list[Evaluation]]:
    return [list(on_fold(fold, **changes).evaluations()) for fold in range(FOLDS)]


@pytest.mark.parametrize("at", ["best", "last"])
@pytest.mark.parametrize(("name", "mode"), [("val_loss", "min"), ("val_accuracy", "max")])
@pytest.mark.parametrize(
    "settings",
    [TrainSettings(), TrainSettings(early_stopping=EarlyStopping(1), ema=Averaging(0.5))],
    ids=["plain", "early stopping"],
)
def test_the_value_is_the_mean_of_single_trainings(
    at: Any, name: str, mode: Any, settings: TrainSettings
) -> None:
    metric = MetricSettings(name, mode, at)
    found = list(folded(metric, settings=settings).evaluations())
    values = [
        value_of([one.values[name] for one in evaluations], metric)
        for evaluations in single(settings=settings)
    ]
    assert found[-1].values[name] == sum(values) / FOLDS  # type: ignore[arg-type]


def test_an_evaluation_is_the_mean_over_the_folds_so_far() -> None:
    found = list(folded(MetricSettings(at="last")).evaluations())
    alone = single()
    per_fold = len(alone[0])
    assert [one.index for one in found] == list(range(1, FOLDS * per_fold + 1))
    assert [one.step for one in found[per_fold - 1 :: per_fold]] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert found[-1].epoch == pytest.approx(FOLDS * STEPS / LENGTH.steps_per_epoch)
    for fold in range(FOLDS):
        for number in range(per_fold):
            now = [*(of_fold[-1] for of_fold in alone[:fold]), alone[fold][number]]
            at = found[fold * per_fold + number]
            for name, value in at.values.items():
                assert value == sum(one.values[name] for one in now) / len(now)
            assert at.lr_end == alone[fold][number].lr_end


def test_the_first_fold_is_an_ordinary_training() -> None:
    found = list(folded(MetricSettings(at="last")).evaluations())
    alone = single()[0]
    assert timeless(found[: len(alone)]) == timeless(alone)


def test_a_fold_that_ends_early_leaves_its_place_to_nobody() -> None:
    """So evaluations of trials at equal numbers are of equal folds."""
    settings = TrainSettings(early_stopping=EarlyStopping(2, 1e9))
    found = list(folded(settings=settings).evaluations())
    assert [one.index for one in found] == [1, 2, 3, 8, 9, 10, 15, 16, 17]
    assert [one.early_end is not None for one in found] == [False] * 8 + [True]


def test_the_weights_are_those_of_the_last_fold() -> None:
    training = folded()
    list(training.evaluations())
    last = on_fold(FOLDS - 1)
    list(last.evaluations())
    assert same_weights(training.weights, last.weights)


class StopsAt(Collected):
    """Is told to stop at an evaluation after this step, in all folds."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def __call__(self, evaluation: Evaluation) -> None:
        super().__call__(evaluation)
        if evaluation.step == self.step:
            raise Stopped


@pytest.mark.parametrize("stop_at", [2, 26, 27, 28, 54, 60, 80])
def test_it_goes_on_exactly_within_folds_and_between(stop_at: int) -> None:
    def stopping() -> FoldedTraining:
        def build(fold: int) -> Training:
            one = on_fold(fold, scheduler="plateau")
            one.task.should_stop = lambda: training.step == stop_at
            return one

        training = FoldedTraining(build, FOLDS, MetricSettings())
        return training

    whole, seen, checkpoints = Collected(), Collected(), Recorded()
    expected = Resumable(lambda: folded(scheduler="plateau"), Recorded(), {}).run(whole)
    with pytest.raises(Stopped):
        Resumable(stopping, checkpoints, {}).run(StopsAt(stop_at))
    assert checkpoints.states[-1]["step"] == stop_at
    weights = Resumable(lambda: folded(scheduler="plateau"), checkpoints, {}).run(seen)
    assert timeless(seen) == timeless(whole)
    assert same_weights(dict(weights), dict(expected))


@pytest.mark.parametrize(
    ("nan", "values", "counts"),
    [
        ("worst", [0.5, math.nan, 0.4, math.nan], 0.4),
        ("worst", [math.nan, 0.5], 0.5),
        ("worst", [math.nan, math.nan], math.nan),
        ("fail", [0.5, math.nan], math.nan),
    ],
)
def test_a_metric_that_is_no_number_counts_as_metric_nan_says(
    nan: Any, values: list[float], counts: float
) -> None:
    training = folded(MetricSettings("val_f1", "min", "best", nan))
    evaluation = next(on_fold(0).evaluations())
    for value in values:
        found = training._over_folds(dataclasses.replace(evaluation, values={"val_f1": value}))
    assert found.values["val_f1"] == pytest.approx(counts, nan_ok=True)


# Of a study


def objective_of(*overrides: str) -> tuple[Any, TrainingObjective]:
    settings = load_settings(["+sweep=digits", "train.epochs=2", "data.folds=4", *overrides])
    built = build_objective(settings, prepare(settings.data).to_json())
    assert isinstance(built, TrainingObjective)
    return settings, built


RECIPE = Recipe(
    lr=0.05, batch_size=64, optimizer=ComponentConfig("sgd"), scheduler=ComponentConfig("cosine")
)


def test_a_study_knows_the_sizes_of_a_fold_and_the_length_of_all() -> None:
    settings, objective = objective_of()
    info = prepare(settings.data)
    assert prepared(settings.data) == info
    pool = 1797 - 359
    assert (info.n_train, info.n_validation) == (pool - pool // 4, pool // 4)
    task = objective.task(RECIPE, 0, lambda: False, fold=3)
    assert (len(task.parts.train), len(task.parts.validation)) == (info.n_train, info.n_validation)
    assert objective.parts() == objective.trajectory(RECIPE).whole == 4 * 2


def test_a_trial_is_the_mean_of_the_trainings_of_its_tasks() -> None:
    settings, objective = objective_of()
    seen = Collected()
    weights = objective.run(RECIPE, 7, seen, lambda: False, Recorded())
    losses = []
    for fold in range(4):
        training = Training(objective.task(RECIPE, fold_seed(7, fold), lambda: False, fold))
        *_, last = training.evaluations()
        losses.append(last.values["val_loss"])
    assert weights is not None
    assert same_weights(dict(weights), training.weights)
    value = value_of([one.values["val_loss"] for one in seen], settings.reported_metric)
    assert value == sum(losses) / 4
    assert len(set(losses)) == 4


def test_the_rates_of_all_folds_are_known_beforehand() -> None:
    _, objective = objective_of()
    seen = Collected()
    objective.run(RECIPE, 7, seen, lambda: False, Recorded())
    known = objective.trajectory(RECIPE)
    assert [one.lr_end[0] for one in seen] == pytest.approx(list(known.now))
    assert list(known.left) == sorted(known.left, reverse=True)
    assert known.left[-1] == 0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.folds=1"], "data.folds: 1 is not valid"),
        (
            ["data.folds=5", "data.validation=100"],
            "data.validation: 100 has no use with data.folds",
        ),
    ],
)
def test_what_has_no_folds_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigErrors, match=said):
        load_settings(["+sweep=digits", *overrides])


@pytest.mark.usefixtures("own_folder")
def test_data_of_ones_own_have_a_seed_of_folds_and_streamed_ones_no_folds() -> None:
    Path("folded_own.py").write_text(
        "import torch\n"
        "def load():\n"
        "    part = torch.utils.data.TensorDataset(torch.rand(12, 4), torch.arange(12) % 3)\n"
        "    return part, part\n"
    )
    own = ["+sweep=digits", "~data.name", "data._target_=folded_own.load"]
    with pytest.raises(ConfigErrors, match=r"data\.split_seed: 3 has no use"):
        load_settings([*own, "data.split_seed=3"])
    spec = load_settings([*own, "data.split_seed=3", "data.folds=4"]).data
    assert prepare(spec).n_validation == 24 // 4
    with pytest.raises(UserError, match=r"data\.folds: .* streamed"):
        prepare(dataclasses.replace(spec, in_memory="never"))


def test_more_folds_than_samples_are_refused() -> None:
    settings = load_settings(["+sweep=digits", "data.folds=5000"])
    with pytest.raises(UserError, match="5000 is more than the 1438 samples"):
        prepare(settings.data)
