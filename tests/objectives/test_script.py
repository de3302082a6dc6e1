"""The trial that a script holds: run by lrsearch, by hand, and on several ranks."""

from __future__ import annotations

import dataclasses
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from taken import Taken

import lrsearch
from lrsearch.checkpoints.store import NoCheckpoints
from lrsearch.cli.compose import load_settings
from lrsearch.errors import TrialPruned, UserError
from lrsearch.objectives import script
from lrsearch.objectives.base import TrainingEnded
from lrsearch.objectives.channel import Attempt
from lrsearch.objectives.command import CommandObjective
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.states import Outcome
from lrsearch.training.loop import Stopped

RECIPE = Recipe(0.1, 32, ComponentConfig("sgd"), ComponentConfig("cosine"))


# By hand


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch, own_folder: Path) -> None:
    """The surroundings of a script without arguments."""
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.mark.parametrize("defaults", [RECIPE, RECIPE.to_dict(), {"recipe": RECIPE.to_dict()}])
def test_a_script_by_hand_trains_with_its_defaults(
    defaults: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = lrsearch.current_trial(defaults)
    assert trial.recipe.to_dict() == RECIPE.to_dict()
    assert trial.number is None
    trial.report(1, val_loss=0.5)
    assert "val_loss 0.5" in capsys.readouterr().out
    assert not trial.should_stop()


def test_a_script_by_hand_may_train_as_long_as_it_likes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trial = lrsearch.current_trial(RECIPE)
    for epoch in range(1, 4):
        trial.report(epoch, val_loss=0.5)
    assert capsys.readouterr().err == ""


def test_a_recipe_among_the_arguments_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    best = {**RECIPE.to_dict(), "lr": 0.5}
    text = lrsearch.Recipe.from_dict(best).to_yaml().replace("\n", "\n  ")
    (tmp_path / "best.yaml").write_text(
        f"recipe:\n  {text}\nseed: 11\nconfig: {{train: {{epochs: 4}}}}\n"
    )
    for arguments in (["--recipe", "best.yaml"], ["--recipe=best.yaml"]):
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        trial = lrsearch.current_trial(RECIPE)
        assert (trial.recipe.lr, trial.seed, trial.epochs) == (0.5, 11, 4)
    assert torch.initial_seed() == 11


def test_a_script_by_hand_needs_a_recipe() -> None:
    with pytest.raises(UserError, match="--recipe"):
        lrsearch.current_trial()


# Several ranks


def test_all_ranks_leave_at_the_same_call(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    facts = {"number": 0}
    calls = dict.fromkeys(range(3), 0)

    def loop(rank: int) -> None:
        channel = script._Channel(attempt, facts, script._Ranks(rank, rank, 3))
        while not channel.should_stop():
            calls[rank] += 1
            if rank == 1 and calls[rank] == 50:
                attempt.stop.touch()

    threads = [threading.Thread(target=loop, args=(rank,)) for rank in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(calls.values())) == 1
    assert calls[0] >= 50


def test_a_rank_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "PATIENCE", 0.05)
    channel = script._Channel(Attempt(tmp_path), {"number": 0}, script._Ranks(1, 1, 2))
    assert not any(channel.should_stop() for _ in range(3))
    assert "call it on all ranks" in capsys.readouterr().err


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"},
        {"NODE_RANK": "0", "LOCAL_RANK": "1", "WORLD_SIZE": "2"},
    ],
    ids=["torchrun", "Lightning"],
)
def test_reports_of_other_ranks_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    trial = lrsearch.current_trial(RECIPE)
    trial.report(1, val_loss=0.5)
    assert capsys.readouterr().out == ""


# By lrsearch

SCRIPT = """
import lrsearch, torch

trial = lrsearch.current_trial()
model = torch.nn.Linear(2, 1)
print(model.weight.detach()[0, 0].item(), trial.number, trial.epochs)
optimizer, schedule = trial.recipe.build(model, steps=40)
for step in range(1, 41):
    optimizer.step()
    schedule.step()
    if step % 10 == 0:
        trial.keep_weights({"step": torch.tensor(step)})
        trial.report(step // 10, val_loss=torch.tensor(1 / step), step=step, accuracy=0.5)
    if trial.should_stop():
        break
"""


@pytest.mark.parametrize("prune_at", [pytest.param(2, marks=pytest.mark.slow), 100])
def test_a_script_with_a_trial(own_folder: Path, prune_at: int) -> None:
    (own_folder / "train.py").write_text(SCRIPT)
    settings = load_settings(["+sweep=digits", "train.device=cpu", "train.epochs=4"])
    config = ComponentConfig("command", {"command": ["python", "train.py"]})
    settings = dataclasses.replace(settings, objective=config)
    objective = CommandObjective(settings, torch.device("cpu"), own_folder / "logs")
    taken = Taken(prune_at)
    arguments = (RECIPE, 7, taken, lambda: False, NoCheckpoints())
    if prune_at == 2:
        with pytest.raises(TrialPruned):
            objective.run(*arguments)
    else:
        assert objective.run(*arguments) == {"step": torch.tensor(40)}
        assert [one.step for one in taken.evaluations] == [10, 20, 30, 40]
        assert all(one.verified for one in taken.evaluations)
        assert taken.reported[0] == (1.0, {"val_loss": pytest.approx(0.1), "accuracy": 0.5})
        length = lrsearch.Length.of(steps=40)
        rates = RECIPE.preview(length).rates
        assert [one.lr_end[0] for one in taken.evaluations] == [rates[k] for k in (10, 20, 30, 40)]
    log = (own_folder / "logs" / "trial-3.log").read_text()
    torch.manual_seed(7)
    assert log.startswith(f"{torch.nn.Linear(2, 1).weight.detach()[0, 0].item()} 3 4")
    assert "Traceback" not in log


RANKS = """
import os, sys
import torch
import torch.distributed as dist
import lrsearch

case = sys.argv[1]
trial = lrsearch.current_trial()
dist.init_process_group("gloo")
rank, epoch = dist.get_rank(), 0
while not trial.should_stop():
    epoch += 1
    if rank == 1 and case == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")
    loss = torch.tensor([trial.recipe.lr])
    dist.all_reduce(loss)
    if rank == 0:
        trial.report(epoch, val_loss=loss / epoch)
with open(f"rank-{rank}", "w") as file:
    file.write(str(epoch))
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("case", ["stop"])
def test_two_ranks_of_torchrun(own_folder: Path, case: str) -> None:
    (own_folder / "train.py").write_text(RANKS)
    settings = load_settings(["+sweep=digits", "train.device=cpu"])
    words = ["python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words += ["train.py", case]
    config = ComponentConfig("command", {"command": words, "grace": 60})
    settings = dataclasses.replace(settings, objective=config)
    objective = CommandObjective(settings, torch.device("cpu"), own_folder / "logs")
    taken = Taken()
    enough = taken.arrived.is_set
    with pytest.raises((Stopped, TrainingEnded)) as ended:
        objective.run(RECIPE, 7, taken, enough, NoCheckpoints())
    if case == "stop":
        assert isinstance(ended.value, Stopped)
        assert (own_folder / "rank-0").read_text() == (own_folder / "rank-1").read_text()
        assert taken.reported[0] == (1.0, {"val_loss": pytest.approx(2 * RECIPE.lr)})
    else:
        assert isinstance(ended.value, TrainingEnded)
        assert ended.value.outcome == Outcome.OUT_OF_MEMORY
