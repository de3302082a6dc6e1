"""Schedulers of the user's own in a sweep: searched, forecast, trained again, exported."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Command
from reports import Collected

from lrsearch.checkpoints.store import NoCheckpoints
from lrsearch.cli.compose import load_settings
from lrsearch.data.prepare import prepare
from lrsearch.export.script import best_script
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.parameters.durations import Length
from lrsearch.range_test.plan import RampPlan
from lrsearch.range_test.ramp import run_ramps
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.tuning.trajectory import LrTrajectory

TESTS = str(Path(__file__).parent)
LENGTH = Length(steps=400, steps_per_epoch=100, steps_per_evaluation=100)
HALVING = {"_target_": "own_schedules.Halving", "every": {"value": 0.25, "duration": True}}


def mine(target: str, *durations: str, **arguments: Any) -> ComponentConfig:
    return ComponentConfig("mine", arguments, target, durations)


def recipe(scheduler: ComponentConfig, warmup: float | str = 0) -> Recipe:
    return Recipe(
        lr=0.05,
        batch_size=64,
        optimizer=ComponentConfig("sgd", {"momentum": 0.9}),
        scheduler=scheduler,
        warmup=warmup,
    )


def space(**options: Any) -> str:
    """The override that leaves only these schedulers."""
    node = json.dumps({"only": [*options], **options}).replace('"', "")
    return f"space.scheduler={node}"


EACH = [
    mine("own_schedules.power", power=2.0),
    mine("own_schedules.Halving", "every", every=0.25),
    mine("own_schedules.Impatient", "patience", patience="1st"),
    mine("torch.optim.lr_scheduler.CosineAnnealingWarmRestarts", "T_0", T_0="1ep"),
    # Cycles the momentum, too.
    mine(
        "torch.optim.lr_scheduler.CyclicLR",
        "step_size_up",
        base_lr=0.01,
        max_lr=0.1,
        step_size_up="9st",
    ),
]


@pytest.mark.parametrize("scheduler", EACH, ids=lambda one: one.target.rpartition(".")[2])
@pytest.mark.parametrize("warmup", [0, "7st"])
def test_the_script_trains_as_the_record_says(
    own_folder: Path,
    capsys: pytest.CaptureFixture[str],
    scheduler: ComponentConfig,
    warmup: float | str,
) -> None:
    settings = load_settings(["+sweep=digits", "train.epochs=3"])
    stored = json.loads(json.dumps(recipe(scheduler, warmup).to_dict()))
    info = prepare(settings.data)
    found = Collected()
    objective = build_objective(settings, info.to_json())
    objective.run(Recipe.from_dict(stored), 5, found, lambda: False, NoCheckpoints())
    value = found[-1].values["val_loss"]
    record = {"study": "s", "trial": 0, "metric": "val_loss", "at": "last", "value": value,
              "recipe": stored, "seed": 5}  # fmt: skip
    Path("best.py").write_text(best_script(settings, info, record))
    runpy.run_path("best.py", run_name="__main__")
    assert capsys.readouterr().out.split()[-1] == repr(value)


def test_a_function_is_forecast_like_a_formula() -> None:
    formula = ComponentConfig("lambda", {"formula": "(1 - progress) ** 2"})
    long = Length(steps=1_000_000, steps_per_epoch=250_000, steps_per_evaluation=250_000)
    for length in (LENGTH, long):
        own = LrTrajectory.of(recipe(mine("own_schedules.power", power=2.0), 0.1), length)
        known = LrTrajectory.of(recipe(formula, 0.1), length)
        assert list(own.now) == pytest.approx(list(known.now))
        assert list(own.left) == pytest.approx(list(known.left))


def test_a_class_is_forecast_step_by_step_because_it_may_count_them() -> None:
    length = Length(steps=4000, steps_per_epoch=1000, steps_per_evaluation=1000)
    trajectory = LrTrajectory.of(recipe(mine("own_schedules.Halving", every=1500)), length)
    assert list(trajectory.now) == pytest.approx([0.05, 0.025, 0.0125, 0.0125])


def test_what_cannot_be_computed_is_not_forecast() -> None:
    trajectory = LrTrajectory.of(recipe(mine("own_schedules.raises")), LENGTH)
    assert (trajectory.whole, list(trajectory.now)) == (4, [])


def test_the_preview_of_a_sweep_draws_them(command: Command) -> None:
    options = space(mine={"_target_": "own_schedules.power", "power": {"low": 1.0, "high": 3.0}})
    code, out, error = command("preview", "+sweep=digits", options, "train.epochs=2", "--json")
    assert (code, error) == (0, "")
    for drawn in json.loads(out):
        scheduler = drawn["recipe"]["scheduler"]
        assert scheduler["_target_"] == "own_schedules.power"
        assert 1.0 <= scheduler["power"] <= 3.0
        assert (
            drawn["rates"]
            == Recipe.from_dict(drawn["recipe"])
            .preview(
                Length(len(drawn["rates"]) - 1, drawn["steps_per_epoch"], drawn["steps_per_epoch"])
            )
            .rates
        )


@pytest.mark.parametrize(
    ("setting", "scheduler"),
    [
        ("{_target_: own_schedules.power, power: 2.0}", mine("own_schedules.power", power=2.0)),
        (
            "{_target_: own_schedules.Halving, every: {value: 2ep, duration: true}}",
            mine("own_schedules.Halving", "every", every="2ep"),
        ),
    ],
)
def test_the_preview_of_one_setting_draws_it(
    command: Command, setting: str, scheduler: ComponentConfig
) -> None:
    code, out, error = command(
        "preview", f"scheduler={setting}", "lr=0.05", "epochs=4", "warmup=0.1", "--json"
    )
    assert (code, error) == (0, "")
    assert json.loads(out)[0]["rates"] == recipe(scheduler, 0.1).preview(LENGTH).rates


def test_the_preview_of_one_setting_names_an_argument_that_is_not_taken(command: Command) -> None:
    code, _, error = command("preview", "scheduler={_target_: own_schedules.power, powr: 2}")
    assert (code, "scheduler.powr: 'powr' is unknown; did you mean power?" in error) == (2, True)


def test_a_range_test_needs_no_scheduler_of_the_space(own_folder: Path) -> None:
    settings = load_settings(["+sweep=digits", space(mine=HALVING)])
    objective = TrainingObjective(settings, prepare(settings.data), torch.device("cpu"))
    plan = RampPlan(("sgd",), (32,), seeds=1, steps=20, trial_samples=1000)
    (ramp,) = run_ramps(objective, plan, lambda: False)
    assert len(ramp.rates) > 5


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"_target_": "own_schedules.no_number"}, "own_schedules.no_number must return a number"),
        ({"_target_": "own_schedules.Sinking"}, "it must be 0 or more, and finite"),
        ({"_target_": "own_schedules.Unsavable"}, "could not be resumed"),
        ({"_target_": "own_schedules.NoScheduler"}, "not a subclass of torch"),
        ({"_target_": "own_schedules.power", "powr": 2}, "did you mean power?"),
        ({"_target_": "own_schedules.Halving"}, "every is missing"),
    ],
)
def test_what_is_no_scheduler_is_refused_before_anything_is_stored(
    command: Command, tmp_path: Path, option: dict[str, Any], said: str
) -> None:
    code, _, error = command("+sweep=digits", space(mine=option), "workers=1")
    assert code == 2
    assert "space.scheduler.mine" in error
    assert said in error
    assert not list(tmp_path.glob("*.db"))
