"""A worker in the caller's process: any thread, no signal handlers, stopped by a function."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from local_worker import URL, submit

import lrsearch as lr
from lrsearch.storage.database import Database
from lrsearch.study.progress import Progress

TRAINING = """
import signal, threading

def train(trial, how="well"):
    for epoch in range(1, 4):
        if how == "interrupted" and epoch == 2:
            signal.raise_signal(signal.SIGINT)
        trial.report(epoch, val_loss=abs(trial.recipe.lr - 0.1) + 1 / epoch)
"""
SWEEP = ("+sweep=digits", "objective._target_=served_here.train", "pruner=none", "sampler=random",
         "train.epochs=3")  # fmt: skip


@pytest.fixture(autouse=True)
def folder(own_folder: Path) -> Iterator[Path]:
    """A folder with a training of the user's own."""
    (own_folder / "served_here.py").write_text(TRAINING)
    sys.modules.pop("served_here", None)
    importlib.invalidate_caches()
    threads = torch.get_num_threads()
    yield own_folder
    torch.set_num_threads(threads)


def counts(study_id: int) -> tuple[int, int]:
    """How many trials have ended, and how many are at work."""
    database = Database(URL)
    progress = Progress(database.session, study_id)
    ended = len(progress.finished()), len(progress.snapshot().running)
    database.close()
    return ended


def test_studies_are_served_from_any_thread_without_signal_handlers() -> None:
    study = submit(*SWEEP, "study.name=one", "study.n_trials=2")
    other = submit(*SWEEP, "study.name=two", "study.n_trials=1")
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    handlers = [signal.getsignal(number) for number in numbers]
    codes: list[lr.ExitCode] = []
    thread = threading.Thread(target=lambda: codes.append(lr.serve(URL, sweeps="one")))
    thread.start()
    thread.join()
    assert codes == [lr.ExitCode.DONE]
    assert (counts(study.study_id), counts(other.study_id)) == ((2, 0), (0, 0))
    assert [signal.getsignal(number) for number in numbers] == handlers
    assert lr.serve(URL) == lr.ExitCode.DONE
    assert counts(other.study_id) == (1, 0)


def test_a_call_that_is_stopped_hands_its_trial_back() -> None:
    study = submit(*SWEEP, "study.n_trials=2")
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > 4

    assert lr.serve(URL, stop=stop) == lr.ExitCode.HANDED_BACK
    assert counts(study.study_id)[1] == 0
    event = threading.Event()
    event.set()
    assert lr.serve(URL, stop=event) == lr.ExitCode.HANDED_BACK
    assert lr.serve(URL) == lr.ExitCode.DONE
    assert counts(study.study_id) == (2, 0)
    assert lr.serve(URL, stop=event) == lr.ExitCode.DONE


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python's own handler of Ctrl-C, in the place of that of a runner of tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_hands_the_trial_back_and_is_raised() -> None:
    study = submit(*SWEEP, "study.n_trials=1", "+objective.how=interrupted")
    with pytest.raises(KeyboardInterrupt):
        lr.serve(URL)
    assert counts(study.study_id) == (0, 0)


def test_what_cannot_be_served_is_refused_by_the_exit_code(folder: Path) -> None:
    submit(*SWEEP, "study.n_trials=1")
    (folder / "served_here.py").unlink()
    sys.modules.pop("served_here", None)
    assert lr.serve(URL) == lr.ExitCode.REFUSED


def test_one_call_at_a_time_serves_in_a_process() -> None:
    study = submit(*SWEEP, "study.n_trials=1")
    errors: list[str] = []

    def stop() -> bool:
        if not errors:
            with pytest.raises(lr.UserError) as caught:
                lr.serve(URL)
            errors.append(str(caught.value))
        return False

    assert lr.serve(URL, stop=stop) == lr.ExitCode.DONE
    assert "more processes" in errors[0]
    assert counts(study.study_id) == (1, 0)


def test_wrong_arguments_and_missing_studies_are_errors() -> None:
    submit(*SWEEP, "study.n_trials=1")
    with pytest.raises(lr.UserError, match="no study 'nowhere'"):
        lr.serve(URL, sweeps=["nowhere"])
    with pytest.raises(lr.UserError, match=r"data\.rot"):
        lr.serve(URL, data={"rot": "x"})
