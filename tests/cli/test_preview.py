"""`preview`: curves before any training, in the terminal and as pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Command

from lrsearch.cli.compose import load_settings
from lrsearch.data.prepare import prepare
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS

ONE = ("scheduler=cosine", "lr=0.1", "warmup=0.05", "epochs=20", "final=0.01")


def test_a_setting_is_drawn_and_says_what_it_assumes(command: Command) -> None:
    code, out, error = command("preview", *ONE)
    assert (code, error) == (0, "")
    assert "lr=0.1 cosine(final=0.01) warmup=0.05" in out
    assert "100 steps an epoch are assumed" in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines()[:-1])) <= 80
    assert "assumed" not in command("preview", *ONE, "--steps-per-epoch", "7")[1]


def test_the_rates_are_those_that_training_will_have(command: Command) -> None:
    (drawn,) = json.loads(command("preview", *ONE, "--steps-per-epoch", "10", "--json")[1])
    recipe = Recipe(
        0.1, 1, ComponentConfig("sgd"), ComponentConfig("cosine", {"final": 0.01}), warmup=0.05
    )
    assert drawn["rates"] == recipe.preview(Length(200, 10, 10)).rates


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_every_scheduler_can_be_drawn(command: Command, name: str) -> None:
    code, out, _ = command("preview", f"scheduler={name}", "epochs=3")
    assert code == 0
    assert ("loss" in out) == (name == "plateau")


def test_a_formula_is_written_as_it_is(command: Command) -> None:
    code, out, _ = command("preview", "scheduler=lambda", "formula=(1 - progress) ** 2", "--json")
    assert code == 0
    assert json.loads(out)[0]["rates"][500] == pytest.approx(0.1 / 4)


def test_a_sweep_is_drawn_with_the_size_of_its_data_once_they_were_read(command: Command) -> None:
    settings = load_settings(["+sweep=digits"])
    info = prepare(settings.data)
    code, out, _ = command("preview", "+sweep=digits", "train.epochs=2")
    assert code == 0
    assert f"{info.n_train} samples of digits an epoch" in out
    assert sum("batch=" in line for line in out.splitlines()) == 12
    drawn = json.loads(command("preview", "+sweep=digits", "train.epochs=2", "--json")[1])
    for one in drawn:
        assert one["steps_per_epoch"] == info.n_train // one["recipe"]["batch_size"]
        assert len(one["rates"]) == 2 * one["steps_per_epoch"] + 1


def test_a_sweep_whose_data_were_not_read_is_drawn_with_an_assumption(
    command: Command, tmp_path: Path
) -> None:
    _, out, _ = command("preview", "+sweep=digits", f"data.cache={tmp_path}", "train.epochs=1")
    assert "100 steps an epoch are assumed (the data have not been read here yet)" in out
    assert not list(tmp_path.glob("digits-*"))


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("2 - progress", "the rate goes up to 0.2, above lr=0.1"),
        ("-1", "the rate is 0 throughout, so nothing is learned"),
        ("1 - progress", None),
    ],
)
def test_a_formula_that_misses_the_peak_is_told(
    command: Command, formula: str, said: str | None
) -> None:
    code, out, _ = command("preview", "scheduler=lambda", f"formula={formula}", "lr=0.1")
    assert code == 0
    assert said in out if said else ("goes up to" not in out and "throughout" not in out)


@pytest.mark.parametrize("arguments", [ONE, ("+sweep=digits", "train.epochs=1")])
def test_pictures_are_files_of_the_kind_that_their_names_say(
    command: Command, arguments: tuple[str, ...]
) -> None:
    command("preview", *arguments, "--output", "new/folder/x.svg")
    command("preview", *arguments, "--output", "x.PNG")
    assert "<svg" in Path("new/folder/x.svg").read_text()
    assert Path("x.PNG").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say what to draw"),
        (("scheduler=cosin",), "did you mean cosine?"),
        (("scheduler=cosine", "finel=0.1"), "did you mean final?"),
        (("scheduler=cosine", "final=2"), "final: 2 is out of range"),
        (("scheduler=cosine", "lr=0"), "lr: 0 is out of range"),
        (("scheduler=cosine", "lr=inf"), "lr: inf is not a finite number"),
        (("scheduler=lambda", "formula=1/progress"), "cannot be computed: float division by zero"),
        (("scheduler=lambda", "formula=log(progress)"), "cannot be computed: math domain error"),
        (("scheduler=cosine", "epochs=-1"), "epochs: -1 is out of range"),
        (("scheduler=cosine", "warmup=5"), "did you mean 5ep"),
        (("scheduler=cosine", "epochs=3", "steps=9"), "both epochs=3 and steps=9 are given"),
        (("scheduler=cosine", "eval_every=0"), "eval_every: 0 is not above 0"),
        (("scheduler=cosine", "--output", "x.gif"), "neither a .png nor a .svg"),
        (("scheduler=cosine", "--output", "/proc/no/x.png"), "cannot write /proc/no/x.png"),
        (("+sweep=digist",), "did you mean digits?"),
        (("cosine",), "not of the form key=value"),
    ],
)
def test_bad_input_is_refused(command: Command, arguments: tuple[str, ...], said: str) -> None:
    code, out, error = command("preview", *arguments)
    assert (code, out) == (2, "")
    assert said in error


GROUPS = (
    "+sweep=digits",
    "train.groups=[no_decay,{use: head, lr_factor: 4}]",
    "train.freeze=body.1",
)


def test_the_parameters_of_each_group_are_shown(command: Command) -> None:
    prepare(load_settings(["+sweep=digits"]).data)
    code, out, _ = command("preview", *GROUPS)
    assert code == 0
    (head,) = [line for line in out.splitlines() if line.split()[0:1] == ["head"]]
    assert "lr × 4, weight_decay=" in head
    assert "head.weight" in head
    groups = json.loads(command("preview", *GROUPS, "--json")[1])[0]["groups"]
    assert [(group["name"], group["parameters"]) for group in groups] == [
        ("default", ["body.3.weight"]),
        ("no_decay", ["body.3.bias"]),
        ("head", ["head.weight"]),
        ("no_decay+head", ["head.bias"]),
        ("frozen", ["body.1.weight", "body.1.bias"]),
    ]


def test_what_muon_trains_is_shown(command: Command) -> None:
    prepare(load_settings(["+sweep=digits"]).data)
    given = ("preview", "+sweep=digits", "space.optimizer.only=[adamw,muon]")
    code, out, _ = command(*given)
    assert code == 0
    after = out.partition("parameter groups of muon\n")[2].splitlines()
    assert [(line.split()[0], line.split()[-2:]) for line in after[:2]] == [
        ("default", ["body.1.weight,", "body.3.weight"]),
        ("default+adamw", ["head.weight,", "..."]),
    ]
    assert "optimizer=Muon" in after[0]
    assert "optimizer=AdamW" in after[1]
    for one in json.loads(command(*given, "--json")[1]):
        found = {group["optimizer"]: group["parameters"] for group in one.get("groups", [])}
        is_muon = one["recipe"]["optimizer"]["name"] == "muon"
        assert found.get("Muon") == (["body.1.weight", "body.3.weight"] if is_muon else None)


def test_where_muon_has_nothing_to_train_is_told(command: Command) -> None:
    prepare(load_settings(["+sweep=digits"]).data)
    given = ("preview", "+sweep=digits", "model=cnn", "space.optimizer.only=[muon]")
    code, out, _ = command(*given)
    assert code == 0
    assert "3 convolutions (body.0, body.4, ...) trained by AdamW" in out
    assert "nothing is left for Muon" in out


def test_a_rule_that_matches_nothing_is_told_before_anything_is_stored(
    command: Command, tmp_path: Path
) -> None:
    for given, said in (
        ("train.groups=[{name: a, match: bdy}]", "a (match: bdy) matches nothing"),
        ("train.freeze=bdy", "train.freeze: 'bdy' matches nothing"),
        ("train.freeze=.", "freezes everything"),
    ):
        code, _, error = command("+sweep=digits", given, "dry_run=true")
        assert code == 2
        assert said in error
    assert not list(Path.cwd().glob("*.db"))
