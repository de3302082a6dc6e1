"""A worker in this process: what becomes of trials that end well, early or badly."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
import pytest
import torch
from command_line import BUGGY, Query
from local_worker import URL, serve, submit

from lrsearch.checkpoints.weights import load_weights
from lrsearch.cli.compose import load_settings
from lrsearch.cli.show import show_trial
from lrsearch.data.prepare import prepare
from lrsearch.loggers import LoggedTrial
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.settings import Settings
from lrsearch.storage.database import Database
from lrsearch.study.progress import Finished, Progress, ranked
from lrsearch.tuning.pruners import PRUNERS
from lrsearch.tuning.samplers import SAMPLERS
from lrsearch.workers import worker

Work = Callable[..., list[Finished]]

QUICK = ("study.n_trials=6", "train.epochs=3")


@pytest.fixture
def work(own_folder: Path) -> Work:
    """Runs a sweep with one worker in this process; its trials in the order they ended."""

    def run(*overrides: str, stop_after: int | None = None) -> list[Finished]:
        study = submit(*overrides)
        serve(study.name, stop_after=stop_after)
        database = Database(URL)
        finished = Progress(database.session, study.study_id).finished()
        database.close()
        return finished

    return run


def optuna_study(name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=URL)


# Samplers and pruners


@pytest.mark.slow
@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"grid"}))
def test_every_sampler_makes_as_many_different_trials_as_asked(work: Work, sampler: str) -> None:
    startup = [] if sampler in ("qmc", "random") else ["sampler.n_startup_trials=3"]
    finished = work("+sweep=digits", *QUICK, f"sampler={sampler}", *startup)
    assert len(finished) == 6
    assert len({str(one.recipe) for one in finished}) == 6
    assert {one.outcome for one in finished} <= {"complete", "pruned", "diverged"}


@pytest.mark.slow
@pytest.mark.parametrize("pruner", sorted(PRUNERS))
def test_every_pruner_finishes_a_sweep(work: Work, pruner: str) -> None:
    finished = work("+sweep=digits", *QUICK, f"pruner={pruner}", "sampler=random")
    assert len(finished) == 6
    if pruner == "none":
        assert {one.outcome for one in finished} == {"complete"}


def test_qmc_does_not_repeat_the_parameters_of_a_branch(work: Work) -> None:
    finished = work("+sweep=digits", "study.n_trials=8", "train.epochs=1", "sampler=qmc",
                    "pruner=none", "space.optimizer.only=[adamw]",
                    "space.scheduler.only=[cosine,step]")  # fmt: skip
    finals = [one.recipe["scheduler"].get("final") for one in finished if one.recipe]
    cosines = [final for final in finals if final is not None]
    assert len(cosines) > 1
    assert len(set(cosines)) == len(cosines)


def test_a_study_repeats_itself_trial_by_trial(work: Work) -> None:
    def sweep(name: str) -> list[object]:
        finished = work("+sweep=digits", *QUICK, f"study.name={name}")
        return [(one.trial, one.outcome, one.value, str(one.recipe)) for one in finished]

    assert sweep("first") == sweep("second")


def test_a_grid_has_each_setting_once(work: Work) -> None:
    finished = work(
        "+sweep=digits", "train.epochs=1", "sampler=grid", "study.n_trials=null", "space.warmup=0",
        "space.weight_decay=0", "space.batch_size.choices=[64,128]",
        "space.optimizer.only=[adamw]", "space.optimizer.adamw.lr.points=2",
        "space.scheduler.only=[constant,linear]", "space.scheduler.linear.final=0",
        "pruner=none",
    )  # fmt: skip
    assert len({str(one.recipe) for one in finished}) == len(finished) == 8


# Training loops of the user's own

DENSE = """
import torch

def objective(trial):
    optimizer, schedule = trial.recipe.build(torch.nn.Linear(2, 1), epochs=10, steps=40)
    for step in range(1, 41):
        optimizer.step()
        schedule.step()
        trial.report(step / 4, accuracy=1.0 - trial.recipe.lr - 0.001 / step)
"""
"""Four evaluations an epoch, of a metric that is no loss; a smaller rate is better."""


@pytest.mark.parametrize(("pruner", "first"), [("median", 0.1), ("schedule_aware", 0.2)])
def test_a_loop_that_reports_often_is_pruned_by_its_progress(
    work: Work,
    tmp_path: Path,
    query: Query,
    capsys: pytest.CaptureFixture[str],
    pruner: str,
    first: float,
) -> None:
    (tmp_path / "dense.py").write_text(DENSE)
    startup = ["pruner.n_startup_trials=1"] if pruner == "median" else []
    rates = [0.1, 0.11, 0.12, 0.2, 0.3, 0.4, 0.5]
    finished = work(
        "+sweep=digits", "objective._target_=dense.objective", f"study.n_trials={len(rates)}",
        "train.epochs=10", "metric={name: accuracy, mode: max}", f"pruner={pruner}", *startup,
        "study.try_first=[" + ",".join(f"{{lr: {rate}, optimizer: sgd}}" for rate in rates) + "]",
        "space.optimizer.only=[sgd]", "space.scheduler.only=[linear]", "space.warmup=0",
        "space.scheduler.linear.final=0", "space.weight_decay=0", "sampler=random",
    )  # fmt: skip
    ends = query(
        "select outcome, max(progress), count(*), max(moment), spared_at from lrsearch_units u"
        " join lrsearch_epochs e on e.trial_id = u.trial_id group by number order by number"
    )
    assert ends[0] == ("complete", 1.0, 40, 10, None)
    assert {row[0] for row in ends} == {"complete", "pruned"}
    for outcome, progress, count, moment, spared_at in ends:
        assert moment == pytest.approx(10 * progress)
        assert count == 4 * moment
        assert progress == 1.0 or (outcome == "pruned" and progress >= first)
        assert spared_at is None or spared_at >= 40 * first
    assert finished[0].value == pytest.approx(0.9 - 0.001 / 40)
    # The area under the second half of a linear schedule from 0.1 to 0.
    ((left,),) = query(
        "select rate_left from lrsearch_epochs where progress = 0.5"
        " and trial_id = (select min(trial_id) from lrsearch_epochs)"
    )
    assert left == pytest.approx(0.0125, rel=1e-2)
    show_trial(["digits", "0"], as_json=False)
    shown = capsys.readouterr().out
    (header,) = [line for line in shown.splitlines() if line.startswith("epoch ")]
    assert header.split()[:4] == ["epoch", "step", "accuracy", "lr"]
    assert "loss" not in shown


# How trials end


def test_a_trial_worse_than_the_others_is_pruned(work: Work) -> None:
    first = "[{lr: 0.1, optimizer: sgd},{lr: 0.1, optimizer: sgd},{lr: 0.001, optimizer: sgd}]"
    finished = work(
        "+sweep=digits", f"study.try_first={first}", "study.n_trials=3", "train.epochs=4",
        "pruner=median", "pruner.n_startup_trials=1", "space.scheduler.only=[constant]",
    )  # fmt: skip
    assert finished[2].outcome == "pruned"
    assert optuna_study("digits").trials[2].state == optuna.trial.TrialState.PRUNED
    assert len(optuna_study("digits").trials[2].intermediate_values) < 4


def test_a_diverged_trial_is_infeasible_and_never_best(work: Work, query: Query) -> None:
    finished = work(
        "+sweep=linear", "study.n_trials=2", "study.try_first=[{lr: 50.0},{lr: 0.1}]",
        "space.lr.high=100.0", "space.scheduler.only=[constant]",
    )  # fmt: skip
    assert [one.outcome for one in finished] == ["diverged", "complete"]
    assert "learning rate 50" in str(finished[0].reason)
    assert ranked(finished, "min") == [finished[1]]
    ((step, lr),) = query("select end_step, end_lr from lrsearch_units where number = 0")
    assert lr == 50.0
    assert 1 <= step < 100
    study = optuna_study("linear")
    assert study.trials[0].state == optuna.trial.TrialState.PRUNED
    assert study.trials[0].constraints == {"works": 1.0}
    assert study.best_trial.number == 1


def test_running_out_of_memory_is_infeasible_too(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", full)
    finished = work("+sweep=digits", "study.n_trials=1")
    assert finished[0].outcome == "out_of_memory"
    assert optuna_study("digits").trials[0].constraints == {"works": 1.0}


def test_a_bug_fails_its_trial_with_the_traceback_and_the_others_go_on(
    work: Work, tmp_path: Path
) -> None:
    (tmp_path / "buggy_now_and_then.py").write_text(BUGGY)
    finished = work(
        "+sweep=digits", "train.epochs=1", "model._target_=buggy_now_and_then.Net",
        "~model.hidden", "+space.model.bad.choices=[0,1]", "study.n_trials=3",
        "study.try_first=[{model.bad: 1},{model.bad: 0},{model.bad: 1}]",
    )  # fmt: skip
    assert [one.outcome for one in finished] == ["failed", "complete", "failed"]
    assert "buggy_now_and_then.py" in str(finished[0].reason)
    assert optuna_study("digits").trials[0].state == optuna.trial.TrialState.FAIL


def test_a_metric_that_is_not_a_number_fails_its_trial_or_counts_as_the_worst(
    work: Work, tmp_path: Path, query: Query
) -> None:
    (tmp_path / "odd_metric.py").write_text(
        "def nothing(outputs, targets):\n    return outputs.mean() * float('nan')\n"
    )
    metric = "train.metrics={odd: {_target_: odd_metric.nothing}, accuracy: accuracy}"
    sweep = ("+sweep=digits", "study.n_trials=1", "train.epochs=2", metric)
    odd = ("metric.name=val_odd", "metric.mode=min")
    finished = work(*sweep, *odd)
    assert [one.outcome for one in finished] == ["failed"]
    assert "the metric val_odd is nan" in str(finished[0].reason)
    finished = work(*sweep, *odd, "study.name=worst", "metric.nan=worst")
    assert [(one.outcome, one.value) for one in finished] == [("diverged", None)]
    assert "val_odd was not finite" in str(finished[0].reason)
    finished = work(*sweep, "study.name=other")
    assert [one.outcome for one in finished] == ["complete"]
    nulls = query("select sum(json_extract(metrics, '$.val_odd') is null) from lrsearch_epochs")
    assert nulls != [(0,)]


def test_an_objective_that_exits_fails_its_trial_alone(work: Work, tmp_path: Path) -> None:
    (tmp_path / "exits.py").write_text(
        "import sys\n"
        "def objective(recipe, report, epochs):\n"
        "    if recipe.batch_size == 16:\n"
        "        sys.exit(0)\n"
        "    for epoch in range(epochs):\n"
        "        report(epoch, recipe.lr)\n"
    )
    finished = work(
        "+sweep=digits", "objective._target_=exits.objective", "study.n_trials=2",
        "train.epochs=2", "study.try_first=[{batch_size: 16},{batch_size: 32}]",
    )  # fmt: skip
    assert [one.outcome for one in finished] == ["failed", "complete"]


def test_a_worker_told_to_stop_hands_its_unit_back_and_another_goes_on_in_mid_epoch(
    work: Work, tmp_path: Path, query: Query
) -> None:
    sweep = ("+sweep=digits", *QUICK, "pruner=none", "space.batch_size=64")  # 16 steps an epoch
    assert work(*sweep, stop_after=30) == []
    waiting = optuna_study("digits").trials
    assert len(waiting[0].intermediate_values) == 1
    assert [trial.state for trial in waiting] == [optuna.trial.TrialState.WAITING]
    files = (tmp_path / "lrsearch-checkpoints").rglob("*.ckpt")
    assert 16 < max(int(file.stem.removeprefix("step-")) for file in files) < 32
    finished = work(*sweep)
    assert sorted(one.trial or 0 for one in finished) == list(range(6))
    assert {one.outcome for one in finished} == {"complete"}
    assert len(optuna_study("digits").trials) == 6
    assert optuna_study("digits").trials[0].params == waiting[0].params
    assert not list((tmp_path / "lrsearch-checkpoints").rglob("*.ckpt"))
    undisturbed = work(*sweep, "study.name=undisturbed")
    assert [one.value for one in finished] == [one.value for one in undisturbed]
    curves = query("select count(*), count(distinct trial_id || '-' || evaluation), max(evaluation)"
                   " from lrsearch_epochs")  # fmt: skip
    assert curves == [(36, 36, 3)]


def test_the_weights_of_the_best_trials_are_kept(work: Work, tmp_path: Path) -> None:
    quick = ("study.n_trials=4", "train.epochs=2", "space.batch_size=128")
    finished = work("+sweep=digits", *quick, "pruner=none", "train.keep_best=2")
    kept = sorted((tmp_path / "lrsearch-checkpoints").rglob("trial-*.safetensors"))
    best = sorted(one.trial or 0 for one in ranked(finished, "min")[:2])
    assert [int(file.stem.removeprefix("trial-")) for file in kept] == best
    assert {one.trial: one.weights for one in finished if one.weights} == {
        int(file.stem.removeprefix("trial-")): str(file) for file in kept
    }
    weights = load_weights(kept[0])
    assert all(isinstance(tensor, torch.Tensor) for tensor in weights.values())


# What is recorded


def test_accuracy_can_be_maximised(work: Work) -> None:
    more = ("metric.name=val_accuracy", "metric.mode=max", "pruner=none")
    finished = work("+sweep=digits", *QUICK, *more)
    best = ranked(finished, "max")[0]
    assert best.value == max(one.value or 0 for one in finished)
    trial = optuna_study("digits").best_trial
    assert (trial.number, trial.value) == (best.trial, best.value)
    assert trial.intermediate_values[3] == best.value


def test_the_last_evaluation_counts_by_default(sweep_folder: Path) -> None:
    url = f"sqlite:///{sweep_folder / 'lrsearch.db'}"
    study = optuna.load_study(study_name="digits", storage=url)
    assert len(study.trials) == 6
    for trial in study.trials:
        assert trial.value == trial.intermediate_values[trial.last_step]


def test_every_evaluation_is_a_row_for_any_sql_client(work: Work, query: Query) -> None:
    work(
        "+sweep=digits", *QUICK, "pruner=none", "space.grad_clip=1.0",
        "train.groups=[{use: head, lr_factor: 2.0}]",
    )  # fmt: skip
    rows = query(
        "select count(*), min(epoch), max(epoch), sum(train_loss is null), sum(val_loss is null), "
        "sum(lr_start > 0), sum(grad_norm > 0), sum(seconds > 0), "
        "sum(json_extract(metrics, '$.val_accuracy') between 0 and 1), "
        "sum(json_extract(metrics, '$.clipped') between 0 and 1), "
        "sum(abs(json_extract(metrics, '$.lr_start_head') - 2 * lr_start) < 1e-9) "
        "from lrsearch_epochs"
    )
    assert rows == [(18, 1.0, 3.0, 0, 0, 18, 18, 18, 18, 18, 18)]
    joined = "select count(distinct trial_id) from lrsearch_epochs join trials using (trial_id)"
    assert query(joined) == [(6,)]


def test_a_coupled_rate_is_stored_at_the_reference_and_reported_at_both(work: Work) -> None:
    finished = work("+sweep=digits", "study.n_trials=2", "train.epochs=1", "coupling.rule=linear",
                    "space.optimizer.only=[sgd]")  # fmt: skip
    trial = optuna_study("digits").trials[0]
    recipe = next(one.recipe for one in finished if one.trial == 0)
    assert recipe is not None
    assert trial.params["lr_ref"] == recipe["lr_ref"]
    assert recipe["lr"] == pytest.approx(recipe["lr_ref"] * recipe["batch_size"] / 128)
    assert "lr" not in trial.params


def test_evaluations_can_come_within_an_epoch(work: Work, query: Query) -> None:
    work("+sweep=digits", "study.n_trials=1", "train.epochs=1", "train.eval_every=0.25",
         "pruner=none", "space.batch_size=64")  # fmt: skip
    assert query("select step, epoch from lrsearch_epochs") == [
        (4, 0.25), (8, 0.5), (12, 0.75), (16, 1.0),
    ]  # fmt: skip


# Data


def test_a_worker_with_other_data_is_refused(work: Work, tmp_path: Path, cache: Path) -> None:
    from lrsearch.errors import UserError

    settings: Settings = load_settings(["+sweep=digits"])
    stored = prepare(settings.data).to_json() | {"fingerprint": "0" * 64, "file": None}
    with pytest.raises(UserError, match="not trained on two data sets"):
        build_objective(settings, stored)


def test_tuned_arguments_of_the_data_change_the_data(work: Work, tmp_path: Path) -> None:
    (tmp_path / "own_data.py").write_text(
        "import torch\n"
        "def load(shift):\n"
        "    x = torch.arange(64.0)[:, None] / 64\n"
        "    return (x, x + shift), (x, x + shift)\n"
    )
    finished = work(
        "+sweep=linear", "data._target_=own_data.load", "data.shift=0.0", "study.n_trials=2",
        "+space.data.shift.choices=[1.0,100.0]", "train.epochs=1", "space.batch_size=64",
        "study.try_first=[{data.shift: 1.0, lr: 0.01},{data.shift: 100.0, lr: 0.01}]",
    )  # fmt: skip
    small, large = (one.value or 0 for one in finished)
    assert large > 100 * small


def test_the_search_never_sees_the_test_part(work: Work) -> None:
    settings = load_settings(["+sweep=digits"])
    objective = build_objective(settings, None)
    assert isinstance(objective, TrainingObjective)
    recipe = settings.space.sample(random.Random(0))
    assert objective.task(recipe, 0, lambda: False).parts.test is None


# Loggers


class Listener:
    """A log that remembers what it was told."""

    def __init__(self, trial: LoggedTrial) -> None:
        self.trial = trial
        self.steps: list[int] = []
        self.ended: list[tuple[str, str, float | None]] = []
        self.closed = 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        assert {"train_loss", "val_loss", "val_accuracy", "lr", "epoch"} <= set(values)
        self.steps.append(step)

    def end(self, outcome: str, metric: str, value: float | None) -> None:
        self.ended.append((outcome, metric, value))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def listeners(monkeypatch: pytest.MonkeyPatch) -> list[Listener]:
    opened: list[Listener] = []

    def open_log(trial: LoggedTrial) -> Listener:
        opened.append(Listener(trial))
        return opened[-1]

    monkeypatch.setattr(worker, "build_logger", lambda config: open_log)
    return opened


def test_a_logger_is_told_each_evaluation_and_the_end_of_pruned_trials_too(
    work: Work, listeners: list[Listener], query: Query
) -> None:
    finished = work("+sweep=digits", *QUICK, "pruner=threshold", "pruner.upper=0.5")
    assert {one.outcome for one in finished} >= {"pruned"}
    for one, listener in zip(finished, listeners, strict=True):
        steps = query(f"select step from lrsearch_epochs where trial_id = {one.trial_id}")
        assert listener.steps == sorted(step for (step,) in steps)
        assert listener.ended == [(one.outcome, "val_loss", one.value)]
        assert (listener.trial.number, listener.closed) == (one.trial, 1)
        assert listener.trial.hparams["scheduler"] == (one.recipe or {})["scheduler"]["name"]


def test_a_trial_that_is_handed_back_and_taken_up_again_is_logged_as_one(
    work: Work, listeners: list[Listener]
) -> None:
    sweep = ("+sweep=digits", "study.n_trials=1", "train.epochs=3", "space.batch_size=64")
    assert work(*sweep, stop_after=30) == []  # in the second epoch of three
    work(*sweep)
    first, second = listeners
    assert (first.trial.is_new, second.trial.is_new) == (True, False)
    assert (first.ended, first.closed) == ([], 1)
    assert not set(first.steps) & set(second.steps)
    assert len(first.steps + second.steps) == 3
