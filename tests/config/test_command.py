"""The command line of a script: what is wrong with it is said before anything is stored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from lrsearch.cli.compose import load_settings
from lrsearch.config.load import new_configuration
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.export.script import line_by_hand
from lrsearch.launchers import LAUNCHERS
from lrsearch.objectives.command_line import CommandLine, program, values_of
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig

SGD = Recipe(
    0.1, 32, ComponentConfig("sgd", {"momentum": 0.9}), ComponentConfig("cosine"), grad_clip=1.0
)
ADAMW = Recipe(0.001, 64, ComponentConfig("adamw", {"betas": [0.9, 0.99]}), ComponentConfig("step"))


def problems(composed: dict[str, Any], **objective: Any) -> list[str]:
    """What is wrong with a configuration with this objective."""
    try:
        new_configuration({**composed, "objective": objective}, LAUNCHERS)
    except ConfigErrors as errors:
        return errors.problems
    return []


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    """The configuration of the sweep digits, as plain values."""
    from lrsearch.cli.compose import load_settings

    settings = load_settings(["+sweep=digits", "space.model.dropout={low: 0.0, high: 0.5}"])
    runtime = {"storage": {"url": "sqlite:///x.db"}, "workers": 1, "output_dir": "outputs"}
    return {**settings.plain, **runtime, "dry_run": False}


@pytest.mark.parametrize(
    "command",
    [
        ["python", "train.py", "--lr", "{lr}", "--wd={optimizer.weight_decay}"],
        "python train.py --lr {lr} 'two words'",
        ["torchrun", "train.py", "--momentum", "{optimizer.momentum}", "{model.dropout}"],
        ["train", "momentum={sgd.momentum}", "{seed}", "{checkpoint_dir}", "{recipe_file}"],
        ["train", "--config", '{{"lr": {lr}}}', "{optimizer}", "{scheduler}", "{warmup}"],
    ],
)
def test_valid_commands(composed: dict[str, Any], command: Any) -> None:
    assert problems(composed, command=command) == []


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["train", "{learning_rate}"], "{learning_rate} is unknown"),
        (["train", "{optimizer.momentun}"], "did you mean optimizer.momentum"),
        (["train", "{model.width}"], "{model.width} is unknown"),
        (["train", "{optimizer.momentum}"], "some recipes have no {optimizer.momentum}"),
        (["train", "{lr:.3f}"], "{lr:.3f} is not the name of a value"),
        (["train", '{"lr": 1}'], "double braces"),
        (["train", "{lr"], "a brace that is meant literally is doubled"),
        (["train", {"lr": None}], 'write "{lr}" in quotes'),
        (["train", ["a"]], "is not a word"),
        ("train 'lr", "cannot be divided"),
        ([], "it is empty"),
        (7, "is not a list of words"),
        (None, "is not a list of words"),
    ],
)
def test_bad_commands(composed: dict[str, Any], command: Any, problem: str) -> None:
    (said,) = problems(composed, command=command)
    assert said.startswith("objective.command: ")
    assert problem in said


@pytest.mark.parametrize(
    ("metrics", "problem"),
    [
        ({"file": "a.csv", "accuracy": "acc"}, "the study's metric is not read"),
        ("m.csv", "is not a file and its columns"),
        ({"val_loss": "loss"}, "is not a file and its columns"),
        ({"file": "{folder}/m.csv", "val_loss": "loss"}, "{folder} is unknown"),
        ({"file": "m.csv", "val_loss": 3}, "3 is not the name of a column"),
        ({"file": "m.csv", "epoch": "epoch"}, "no metric is read"),
    ],
)
def test_bad_files_of_metrics(composed: dict[str, Any], metrics: Any, problem: str) -> None:
    (said,) = problems(composed, command=["train"], metrics=metrics)
    assert said.startswith("objective.metrics")
    assert problem in said


@pytest.mark.parametrize(
    ("objective", "problem"),
    [
        ({"command": ["train"], "grace": -1}, "objective.grace: -1 is out of range"),
        ({"command": ["train"], "gracee": 1}, "did you mean grace"),
        ({"grace": 1}, "objective: "),
    ],
)
def test_bad_options(composed: dict[str, Any], objective: dict[str, Any], problem: str) -> None:
    assert any(problem in said for said in problems(composed, **objective))


def test_a_script_says_how_many_gpus_it_takes() -> None:
    command = ["+sweep=digits", "objective.command=[bash,train.sh]"]
    assert load_settings([*command, "objective.gpus=0.5"]).train.gpus == 0.5
    assert load_settings([*command, "train.gpus=2"]).train.gpus == 2
    with pytest.raises(ConfigErrors, match=r"objective\.gpus: 2, and train\.gpus is 3"):
        load_settings([*command, "objective.gpus=2", "train.gpus=3"])


def words(command: Any, recipe: Recipe, **of_trial: Any) -> list[str]:
    """The words of a command for a recipe."""
    wrong: list[str] = []
    line = CommandLine.parse(command, "objective.command", wrong)
    assert wrong == []
    return line.words({**values_of(recipe), **of_trial})


@pytest.mark.parametrize(
    ("command", "gives"),
    [("t --lr {lr}", True), ("t {recipe_file}", True), ("t", False), ("t {seed} {steps}", False)],
)
def test_whether_a_command_gives_any_of_the_recipe(command: str, gives: bool) -> None:
    assert CommandLine.parse(command, "objective.command", []).gives_recipe is gives


def test_an_option_without_a_value_is_left_out() -> None:
    command = "t --m {optimizer.momentum} --c={grad_clip} n={sgd.nesterov} -g {step.gamma} {lr}"
    assert words(command, SGD) == ["t", "--m", "0.9", "--c=1.0", "n=false", "0.1"]
    assert words(command, ADAMW) == ["t", "-g", "0.1", "0.001"]


def test_a_list_becomes_several_words_and_json_within_a_word() -> None:
    command = ["t", "--betas", "{optimizer.betas}", "--b={optimizer.betas}"]
    assert words(command, ADAMW) == ["t", "--betas", "0.9", "0.99", "--b=[0.9,0.99]"]


def test_numbers_are_given_to_the_last_bit() -> None:
    recipe = Recipe(0.1 + 0.2, 32, ComponentConfig("sgd"), ComponentConfig("cosine"))
    assert [float(word) for word in words(["{lr}"], recipe)] == [0.1 + 0.2]


def test_python_is_the_interpreter_that_runs_lrsearch() -> None:
    assert program("python") == sys.executable


def test_programs_are_looked_for_beside_the_interpreter_and_on_the_path() -> None:
    assert program("sh").endswith("/sh")


def test_what_cannot_be_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("")
    with pytest.raises(UserError, match="no program 'no-such-program'"):
        program("no-such-program")
    with pytest.raises(UserError, match=r"no file '\./absent'"):
        program("./absent")
    with pytest.raises(UserError, match=r"\./train\.py' cannot be executed"):
        program("./train.py")
    with pytest.raises(UserError, match=r"no program 'train\.py'.*\[python, train\.py\]"):
        program("train.py")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["python", "train.py"], "LRSEARCH_RECIPE=best.yaml python train.py"),
        (["python", "train.py", "--seed", "{seed}"], "LRSEARCH_RECIPE=best.yaml python train.py"),
        (["python", "train.py", "--recipe", "{recipe_file}"], "python train.py --recipe best.yaml"),
        (["python", "train.py", "--lr", "{lr}"], "python train.py --lr 0.1"),
    ],
)
def test_the_line_to_type_trains_the_recipe(
    composed: dict[str, Any], command: list[str], line: str
) -> None:
    objective = {"command": command}
    settings = new_configuration({**composed, "objective": objective}, LAUNCHERS).settings
    shown = line_by_hand(settings, {"recipe": SGD.to_dict(), "seed": 7}, "best.yaml")
    assert shown.removesuffix(" --seed 7") == line
