"""A training that runs out of a GPU's memory beside other processes is repeated alone, once."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Query
from fake_gpus import GIB, FakeMachine
from local_worker import serve, submit

from lrsearch.workers import cards as module
from lrsearch.workers.cards import Cards

CROWDED = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 80.00 GiB of "
    "which 4.00 GiB is free. Of the allocated memory 8.00 GiB is allocated by PyTorch, and 1.00 "
    "GiB is reserved by PyTorch but unallocated."
)
ALONE = CROWDED.replace("4.00 GiB is free", "70.00 GiB is free")
TRAINS = """
import pathlib, torch

def train(trial, message, times):
    tries = pathlib.Path("tries")
    before = len(tries.read_text()) if tries.exists() else 0
    tries.write_text("x" * (before + 1))
    trial.report(1, val_loss=1.0)
    if before < times:
        raise torch.OutOfMemoryError(message)
    trial.report(2, val_loss=0.5)
"""
SCRIPT = """
import pathlib, sys
message, times = sys.argv[1], int(sys.argv[2])
tries = pathlib.Path("tries")
before = len(tries.read_text()) if tries.exists() else 0
tries.write_text("x" * (before + 1))
print('{"lrsearch": {"epoch": 1, "val_loss": 1.0}}', flush=True)
if before < times:
    sys.exit("torch.OutOfMemoryError: " + message)
print('{"lrsearch": {"epoch": 2, "val_loss": 0.5}}', flush=True)
"""
KINDS = ("function", "script")


@pytest.fixture(autouse=True)
def machine(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMachine]:
    """A machine with a GPU, locks of its own, and trainings that compute nothing there."""
    fake = FakeMachine(own_folder, monkeypatch)
    fake.torch(["H100"], free=4 * GIB, total=80 * GIB, reserved=9 * GIB)
    folder = own_folder / "locks"
    monkeypatch.setattr(
        Cards, "of", classmethod(lambda cls, device, gpus: cls(device, ["GPU-x"], folder))
    )
    monkeypatch.setattr("lrsearch.objectives.function.seed_everything", lambda seed: None)
    (own_folder / "mine.py").write_text(TRAINS)
    (own_folder / "mine_script.py").write_text(SCRIPT)
    yield fake
    sys.modules.pop("mine", None)


def trained(kind: str, message: str, times: int) -> None:
    """Runs one trial that runs out of memory so many times."""
    if kind == "function":
        target = f"objective={{_target_: mine.train, message: '{message}', times: {times}}}"
    else:
        words = ["python", "mine_script.py", message.replace("{", "{{"), str(times)]
        target = f"objective.command={shlex.join(words)!r}"
    submit("+sweep=digits", target, "study.n_trials=1", "train.epochs=2", "pruner=none")
    serve()


def row(query: Query) -> tuple[str, float | None, str, str]:
    [found] = query("select outcome, value, coalesce(reason, ''), coalesce(warning, '') "
                    "from lrsearch_units")  # fmt: skip
    outcome, value, reason, warning = found
    return outcome, value, reason, warning


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_that_suffices_alone_is_complete_and_the_repetition_recorded(
    kind: str, query: Query
) -> None:
    trained(kind, CROWDED, times=1)
    outcome, value, _, warning = row(query)
    assert (outcome, value) == ("complete", 0.5)
    assert "out of memory on a GPU of which other processes held 66.0 GiB of its 80.0" in warning
    assert "was trained again with no other worker of lrsearch there" in warning
    evaluations = query("select evaluation, value from lrsearch_epochs order by 1")
    assert evaluations == [(1, 1.0), (2, 0.5)]
    assert Path("tries").read_text() == "xx"


@pytest.mark.parametrize("kind", KINDS)
def test_it_counts_where_it_runs_out_of_memory_alone_too(kind: str, query: Query) -> None:
    trained(kind, CROWDED, times=5)
    outcome, _, reason, _ = row(query)
    assert outcome == "out_of_memory"
    assert reason.startswith("out of memory: ")
    assert "before, it ran out of memory on a GPU of which other processes held" in reason
    assert Path("tries").read_text() == "xx"


@pytest.mark.parametrize("kind", KINDS)
def test_without_neighbours_it_counts_at_once(kind: str, query: Query) -> None:
    trained(kind, ALONE, times=5)
    outcome, _, reason, warning = row(query)
    assert outcome == "out_of_memory"
    assert "before" not in reason + warning
    assert Path("tries").read_text() == "x"


def test_a_worker_that_is_stopped_while_it_waits_hands_the_trial_back(
    query: Query, own_folder: Path
) -> None:
    target = f"objective={{_target_: mine.train, message: '{CROWDED}', times: 5}}"
    submit("+sweep=digits", target, "study.n_trials=1", "train.epochs=2", "pruner=none")

    def waits() -> bool:
        return Path("tries").exists()

    with Cards.of(module.NO_CARDS.device, 1).shared(lambda seconds: None):
        serve(stop_when=waits)
    assert query("select state, deaths from lrsearch_units") == [("open", 0)]
    assert Path("tries").read_text() == "x"
