"""`range-test`, and what the other commands say of rates that are still to be found."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from command_line import Command, Run
from synthetic import recipe, study_of, trial

from lrsearch.analysis.edges import find_edges
from lrsearch.analysis.parameters import settings_of
from lrsearch.cli.compose import load_settings
from lrsearch.cli.range_test import _by_itself
from lrsearch.cli.widen import widening_command
from lrsearch.config.ranges import with_ranges
from lrsearch.config.storage import DEFAULT_URL
from lrsearch.range_test.result import RangeTest

QUICK = ("+sweep=digits", "train.epochs=6", "space.batch_size.choices=[16,32]",
         "space.optimizer.only=[sgd]")  # fmt: skip


def test_it_shows_curves_rates_and_a_range_to_paste(command: Command) -> None:
    code, out, error = command("range-test", *QUICK, "--output", "ramps.png")
    assert code == 0
    assert "ramps of at most" in error
    assert "sgd: training loss, smoothed" in out
    assert "learning rate" in out
    assert "falls fastest at" in out
    assert "sgd at batch size" in out
    assert "\x1b" not in out
    pasted = yaml.safe_load(out[out.index("\nspace:") : out.index("ramps.png")])
    found = pasted["space"]["optimizer"]["sgd"]["lr"]
    assert 0 < found["low"] < 0.05 < found["high"]
    assert Path("ramps.png").read_bytes().startswith(b"\x89PNG")
    assert not Path("lrsearch.db").exists()
    (Path("sweeps")).mkdir()
    (Path("sweeps") / "mine.yaml").write_text(yaml.safe_dump(pasted))
    assert load_settings(["+sweep=mine"]).plain["space"]["optimizer"]["sgd"]["lr"] == found


@pytest.mark.parametrize(
    ("optimizers", "given", "said"),
    [
        (["sgd"], (), "(or space.lr=auto, which does"),
        (["adamw"], (), "(or space.optimizer.adamw.lr=auto, which does"),
        (["sgd", "adamw"], (), "(or space.lr=auto space.optimizer.adamw.lr=auto, which does"),
        (["sgd", "adamw"], ("space.lr=auto",), "(or space.optimizer.adamw.lr=auto, which does"),
        (["sgd"], ("space.lr=auto",), "(yours, as it is, does"),
    ],
)
def test_it_says_with_which_words_a_sweep_does_it_by_itself(
    optimizers: list[str], given: tuple[str, ...], said: str
) -> None:
    only = f"space.optimizer.only=[{','.join(optimizers)}]"
    space = load_settings(["+sweep=digits", only, *given]).space
    assert _by_itself(space, optimizers).startswith(said)


def test_for_programs_there_is_json_with_every_loss(command: Command) -> None:
    code, out, _ = command("range-test", *QUICK, "--json")
    assert code == 0
    document = json.loads(out)
    test = RangeTest.from_json(document)
    suggested = test.suggested("sgd")
    assert suggested is not None
    assert document["suggested"]["optimizer"]["sgd"]["lr"] == suggested.to_dict()
    assert all(len(ramp.rates) == len(ramp.losses) for ramp in test.ramps)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a sweep"),
        (("+sweep=digist",), "did you mean digits?"),
        (("+sweep=digits", "space.lr.low=5"), "low 5 is above high"),
        (("+sweep=digits", "train.epochs=1", "space.batch_size=512"), "train longer"),
        (("+sweep=digits", "objective={_target_: mine.train}"), "lrsearch's own training"),
        (("+sweep=digits", "--output", "x.gif"), "neither a .png nor a .svg"),
        (("+sweep=digits", "space.batch_size.choices=[16,32]", "study.n_trails=3"), "n_trials"),
    ],
)
def test_bad_input_is_refused(command: Command, arguments: tuple[str, ...], said: str) -> None:
    code, out, error = command("range-test", *arguments)
    assert (code, out) == (2, "")
    assert said in error


def test_a_dry_run_says_what_comes_first_and_what_it_costs(command: Command) -> None:
    code, out, _ = command(*QUICK, "space.lr=auto", "dry_run=true", "study.n_trials=2")
    assert code == 0
    assert "a range test comes first: " in out
    assert "% of what one trial trains on" in out
    assert "the range test: at most" in out
    assert "lr: auto: the range test finds the range; 0.1 stands in for it here" in out
    assert "range test" not in command(*QUICK, "dry_run=true", "study.n_trials=2")[1]


def test_a_preview_says_what_stands_in(command: Command) -> None:
    command("preview", *QUICK)  # reads the data
    assert "0.1 stands in for it here" in command("preview", *QUICK, "space.lr=auto")[1]


def test_a_trial_too_short_for_it_is_refused_before_anything_is_stored(command: Command) -> None:
    code, _, error = command(
        "+sweep=digits", "space.lr=auto", "train.epochs=1", "space.batch_size=512"
    )
    assert code == 2
    assert "train longer" in error
    assert not Path("lrsearch.db").exists()


@pytest.mark.slow
def test_a_sweep_finds_its_range_and_all_that_it_leaves_has_it(
    lrsearch: Run, tmp_path: Path
) -> None:
    swept = (*QUICK, "space.lr=auto", "study.n_trials=3", "pruner=none", "workers=2")
    done = lrsearch(*swept)
    assert done.returncode == 0, done.stderr
    assert "a range test comes first" in done.stdout
    assert done.stdout.count("the range test has found: lr ") == 1
    record = yaml.safe_load((tmp_path / "outputs" / "digits" / "best.yaml").read_text())
    found = record["config"]["space"]["lr"]
    assert found["low"] < record["recipe"]["lr"] < found["high"]
    again = lrsearch("train", "outputs/digits/best.yaml")
    assert "equal to the last bit" in again.stdout, again.stderr
    more = lrsearch(*swept, "study.n_trials=4")
    assert "goes on at 3 of 4" in more.stdout, more.stderr
    assert "range test" not in more.stdout


def test_a_study_of_a_sweep_that_says_auto_can_be_widened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "unknown_rate.yaml").write_text(
        "defaults: [{override /data: digits}, {override /model: mlp_small}]\n"
        "space: {lr: auto, batch_size: {low: 16, high: 128}}\n"
    )
    monkeypatch.chdir(tmp_path)
    settings = load_settings(["+sweep=unknown_rate"])
    filled = with_ranges(settings, {"lr": {"low": 0.001, "high": 1.0, "log": True}})
    trials = [trial(k, recipe(0.95, 64), 0.1 + k) for k in range(10)]
    study = replace(study_of(trials), config=filled.plain)
    line = widening_command(study, find_edges(study, settings_of(study)), DEFAULT_URL)
    assert line is not None
    wider = load_settings(shlex.split(line)[3:])
    assert wider.plain["space"]["lr"] == {"low": 0.001, "high": 10.0, "log": True}
    assert wider.space.to_find == {}
