"""What a user's code or recipe does wrong fails its trial alone, and the worker lives."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from command_line import Command
from local_worker import serve, submit
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from lrsearch.analysis.findings import findings
from lrsearch.analysis.study_data import read_study
from lrsearch.analysis.tables import trials_csv
from lrsearch.dashboard.notes import trial_note
from lrsearch.storage.database import Database
from lrsearch.storage.evaluations import to_columns
from lrsearch.storage.outages import DatabaseRefuses
from lrsearch.storage.tables import AuxiliaryRunRow
from lrsearch.study.progress import Finished, Progress
from lrsearch.workers.surroundings import surroundings_kept

OWN = ("train.epochs=2", "pruner=none", "sampler=random", "study.name=own")
ON_SQLITE = pytest.mark.parametrize("either_url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""
Work = Callable[..., list[Finished]]


@pytest.fixture
def work(own_folder: Path, either_url: str) -> Iterator[Work]:
    """Runs a sweep with one worker in this process, on both databases; its trials in order."""

    def run(*overrides: str, sweep: str = "digits") -> list[Finished]:
        study = submit(f"+sweep={sweep}", *OWN, f"storage.url={either_url}", *overrides)
        serve(study.name, url=either_url)
        database = Database(either_url)
        finished = Progress(database.session, study.study_id).finished()
        database.close()
        return sorted(finished, key=lambda one: one.trial or 0)

    yield run
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").parent == own_folder:
            del sys.modules[name]


def each_of(values: int) -> list[str]:
    """A trial for each batch size from 1 on: the user's code takes them as numbers of cases."""
    sizes = ",".join(str(value) for value in range(1, values + 1))
    first = ",".join(f"{{batch_size: {value}}}" for value in range(1, values + 1))
    return [
        f"space.batch_size={{choices: [{sizes}]}}",
        f"study.n_trials={values}",
        f"study.try_first=[{first}]",
    ]


FAILURES = {
    "report(1, 0.5, step=5), report(2, 0.4, step=5)": "step 5 comes after step 5",
    "report(1, 0.5), report(1, 0.4)": "epoch 1 comes after epoch 1",
    "report(2, 0.5), report(1, 0.4)": "epoch 1 comes after epoch 2",
    "swallow(report, 3), report(4, 0.4)": "epoch 3 comes after epoch 3",
    "report(float('nan'), 0.5)": "epoch must be a finite number, not nan",
    "report(1, None)": "'val_loss' was not reported",
    "report(1, torch.ones(2))": "val_loss must be one number, not of the type Tensor",
    "report(1, 0.5, lr=float('nan'))": "lr must be a finite number",
    "report(1, 0.5, step=10**12)": "step 1000000000000 is out of range",
    "throw(RuntimeError('cannot open \\udcff'))": r"cannot open \udcff",
    "throw(RuntimeError('a\\0b'))": r"a\x00b",
    "throw(RuntimeError(10**6 * 'x'))": "characters are left out",
    "throw(Unsayable())": "Unsayable: <exception str() failed>",
    "throw(KeyboardInterrupt())": "KeyboardInterrupt",
    "throw(GeneratorExit())": "GeneratorExit",
    "sys.exit(0)": "SystemExit: 0",
    "deeper()": "RecursionError",
    "throw(theirs())": "a table of their own",
}

HOSTILE = f"""
import sqlite3
import sys
import torch
from sqlalchemy.exc import OperationalError

class Unsayable(Exception):
    def __str__(self):
        raise KeyboardInterrupt
    __repr__ = __str__

def throw(error):
    raise error

def deeper():
    deeper()

def swallow(report, epoch):
    report(epoch, 0.5)
    try:
        report(epoch, 0.5)
    except Exception:
        pass

def theirs():
    original = sqlite3.OperationalError("a table of their own")
    original.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return OperationalError("select", {{}}, original)

CASES = {list(FAILURES)!r}

def objective(recipe, report):
    case, is_good = divmod(recipe.batch_size - 1, 2)
    if is_good:
        report(1, recipe.batch_size)
    else:
        eval(CASES[case])
"""


def test_whatever_an_objective_raises_fails_its_trial_alone_and_says_why(
    work: Work, tmp_path: Path
) -> None:
    (tmp_path / "hostile.py").write_text(HOSTILE)
    finished = work("objective._target_=hostile.objective", *each_of(2 * len(FAILURES)))
    assert [one.outcome for one in finished] == ["failed", "complete"] * len(FAILURES)
    for one, expected in zip(finished[::2], FAILURES.values(), strict=True):
        assert expected in str(one.reason)
        assert len(str(one.reason)) <= 20_000
    assert [one.value for one in finished[1::2]] == [2.0 * k for k in range(1, len(FAILURES) + 1)]


def test_odd_names_and_kinds_of_numbers_can_be_reported(
    work: Work, tmp_path: Path, either_url: str
) -> None:
    (tmp_path / "odd.py").write_text(
        "import numpy as np, torch\n"
        "def objective(recipe, report):\n"
        "    report(np.float32(1), torch.tensor(0.5, requires_grad=True), step=torch.tensor(7))\n"
        "    odd = {'a\\udcff': 1, 'b\\0': float('nan'), '': float('inf'), 'x' * 10**5: True}\n"
        "    report(2, np.array([0.25]), train_loss=float('nan'), **odd)\n"
    )
    (trial,) = work("objective._target_=odd.objective", "study.n_trials=1")
    assert (trial.outcome, trial.value) == ("complete", 0.25)
    database = Database(either_url)
    first, second = read_study(database, "own").trial(trial.trial or 0).curve
    database.close()
    assert (first.step, second.step) == (7, 8)
    metrics = to_columns(second)["metrics"]
    long = next(name for name in metrics if name.startswith("x"))
    assert metrics == {r"a\udcff": 1.0, r"b\x00": None, "": None, long: 1.0}
    assert len(long) <= 20_000


REFUSE = {
    "sqlite": "create trigger refuse before insert on lrsearch_epochs when new.val_loss > 5 "
    "begin select raise(abort, 'too large'); end",
    "postgresql": "alter table lrsearch_epochs add constraint refuse check (val_loss < 5)",
}


def test_values_that_the_database_refuses_fail_their_trial_which_is_recorded(
    work: Work, tmp_path: Path, either_url: str
) -> None:
    (tmp_path / "refused.py").write_text(
        "def objective(recipe, report):\n"
        "    report(1, 0.5)\n"
        "    try:\n"
        "        report(2, 9.0 if recipe.batch_size != 2 else 0.5)\n"
        "    except Exception:\n"
        "        if recipe.batch_size == 1:\n"
        "            raise\n"
    )
    sweep = ("objective._target_=refused.objective", *each_of(3))
    submit("+sweep=digits", *OWN, f"storage.url={either_url}", *sweep)
    engine = create_engine(either_url)
    with engine.begin() as connection:
        connection.execute(text(REFUSE[engine.dialect.name]))
    engine.dispose()
    finished = work(*sweep)
    assert [one.outcome for one in finished] == ["failed", "complete", "failed"]
    assert all("the database refuses what was reported" in str(finished[k].reason) for k in (0, 2))


def test_a_number_of_the_outcome_that_no_column_holds_fails_the_trial(
    work: Work, tmp_path: Path
) -> None:
    (tmp_path / "diverges.py").write_text(
        "from lrsearch.training.loop import Diverged\n"
        "def objective(recipe, report):\n"
        "    raise Diverged(10**30, 0.1, 2.0)\n"
    )
    (trial,) = work("objective._target_=diverges.objective", "study.n_trials=1")
    assert trial.outcome == "failed"


@pytest.mark.parametrize("table", ["lrsearch_units", "lrsearch_epochs"])
def test_a_privilege_that_is_taken_away_ends_the_worker_and_commands_in_words(
    own_folder: Path, new_database: Callable[[], str], command: Command, table: str
) -> None:
    url = make_url(new_database())
    admin = create_engine(url)
    with admin.begin() as connection:
        connection.execute(text(f"create role {table} login password 'weak'"))
        connection.execute(text(f"grant all on schema public to {table}"))
    weak = url.set(username=table, password="weak").render_as_string(hide_password=False)
    (own_folder / "fine.py").write_text("def objective(recipe, report):\n    report(1, 0.5)\n")
    submit("+sweep=digits", *OWN, f"storage.url={weak}", "objective._target_=fine.objective")
    with admin.begin() as connection:
        connection.execute(text(f"alter table {table} owner to postgres"))
    admin.dispose()
    with pytest.raises(DatabaseRefuses, match=f"permission denied for table {table}"):
        serve("own", url=weak)
    code, _, said = command("show", "own", "0", f"storage.url={weak}")
    assert code == 2
    assert f"the database cannot be used: permission denied for table {table}" in said


# Recipes, data and models


DATA = """
import sys
import torch

def load(shift):
    if shift == 1.0:
        raise ValueError("no such shift")
    if shift == 2.0:
        sys.exit(3)
    x = torch.arange(64.0)[:, None] / 64
    return (x, x + shift), (x, x + shift)
"""


@ON_SQLITE
@pytest.mark.parametrize("strict", [False, True])
def test_rates_that_are_not_the_recipes_are_told_and_strictly_fail_the_trial(
    work: Work, tmp_path: Path, either_url: str, strict: bool
) -> None:
    (tmp_path / "never.py").write_text(
        "import torch\n"
        "def objective(trial):\n"
        "    optimizer, schedule = trial.recipe.build(torch.nn.Linear(2, 1), steps=20)\n"
        "    for epoch in (1, 2):\n"
        "        for _ in range(10):\n"
        "            optimizer.step()\n"
        "        trial.report(epoch, 0.5)\n"
    )
    (trial,) = work(
        "objective._target_=never.objective", f"+objective.strict_lr={strict}", "study.n_trials=1",
        "space.scheduler.only=[linear]",
    )  # fmt: skip
    database = Database(either_url)
    study = read_study(database, "own")
    database.close()
    words = "the schedule was stepped not once in 10 optimizer steps"
    if strict:
        assert trial.outcome == "failed"
        assert "objective.strict_lr: at epoch 1 the optimizer holds" in str(trial.reason)
        assert words in str(trial.reason)
        return
    assert trial.outcome == "complete"
    assert words in str(study.trials[0].warning)
    shown = optuna.load_study(study_name="own", storage=either_url).trials[0].user_attrs
    assert shown["warning"] == study.trials[0].warning
    assert words in "".join(trials_csv(study, study.trials))
    assert words in " ".join(findings(study).sentences())
    assert words in trial_note(study.trials[0], study)


@ON_SQLITE
def test_weights_that_a_function_keeps_are_those_of_the_best_trials(
    work: Work, tmp_path: Path
) -> None:
    (tmp_path / "keeps.py").write_text(
        "import torch\n"
        "def objective(trial):\n"
        "    size = trial.recipe.batch_size\n"
        "    if size != 2:\n"
        "        trial.keep_weights({'w': torch.full((2,), float(size))})\n"
        "    for epoch in (1, 2):\n"
        "        trial.report(epoch, size)\n"
    )
    finished = work("objective._target_=keeps.objective", *each_of(4), "train.keep_best=2")
    paths = [one.weights for one in finished]
    assert [path is not None for path in paths] == [True, False, False, False]
    assert Path(str(paths[0])).is_file()


def test_out_of_memory_in_a_function_is_infeasible_and_the_sweep_goes_on(
    work: Work, tmp_path: Path, either_url: str
) -> None:
    (tmp_path / "greedy_loop.py").write_text(
        "import torch\n"
        "def objective(recipe, report):\n"
        "    if recipe.batch_size > 1:\n"
        "        report(1, 2.0)\n"
        "        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')\n"
        "    report(1, 1.0)\n"
    )
    finished = work("objective._target_=greedy_loop.objective", *each_of(5))
    assert [one.outcome for one in finished] == ["complete", *["out_of_memory"] * 4]
    assert "Tried to allocate 2.00 GiB" in str(finished[1].reason)
    trial = optuna.load_study(study_name="own", storage=either_url).trials[1]
    assert trial.state == optuna.trial.TrialState.PRUNED
    assert trial.constraints == {"works": 1.0}


@ON_SQLITE
def test_a_preempted_function_is_handed_back_each_time_and_ends_well(
    own_folder: Path, either_url: str
) -> None:
    """As often as three failures would have ended the sweep."""
    (own_folder / "preempted.py").write_text(
        "from pathlib import Path\n"
        "def objective(trial):\n"
        "    file = Path(trial.checkpoint_dir) / 'done'\n"
        "    first = int(file.read_text()) if file.exists() else 1\n"
        "    for epoch in range(first, 6):\n"
        "        if trial.should_stop():\n"
        "            raise SystemExit('as Lightning does')\n"
        "        trial.report(epoch, 1.0 / epoch)\n"
        "        file.write_text(str(epoch + 1))\n"
    )
    sweep = ("+sweep=digits", *OWN, "train.epochs=5", f"storage.url={either_url}",
             "objective._target_=preempted.objective", "study.n_trials=1")  # fmt: skip
    study = submit(*sweep)
    for _ in range(4):
        serve(study.name, stop_after=3, url=either_url)
    serve(study.name, url=either_url)
    database = Database(either_url)
    (finished,) = Progress(database.session, study.study_id).finished()
    (trial,) = read_study(database, "own", thinned=True).trials
    database.close()
    assert (finished.outcome, finished.value) == ("complete", 0.2)
    assert trial.attempts > 3
    assert trial.deaths == 0


@ON_SQLITE
def test_data_that_cannot_be_loaded_fail_their_trial_and_the_next_has_its_own(
    work: Work, tmp_path: Path
) -> None:
    (tmp_path / "moody_data.py").write_text(DATA)
    shifts = [0.0, 1.0, 100.0, 2.0, 100.0, 1.0, 0.0]
    first = ",".join(f"{{data.shift: {shift}, lr: 0.01}}" for shift in shifts)
    finished = work(
        "data._target_=moody_data.load", "data.shift=0.0", "space.batch_size=64",
        "+space.data.shift.choices=[0.0,1.0,2.0,100.0]", f"study.n_trials={len(shifts)}",
        f"study.try_first=[{first}]", sweep="linear",
    )  # fmt: skip
    failed = [one.outcome == "failed" for one in finished]
    assert failed == [False, True, False, True, False, True, False]
    assert "no such shift" in str(finished[1].reason)
    values = [one.value or 0.0 for one in finished]
    assert min(values[2], values[4]) > 100 * max(values[0], values[6])


@ON_SQLITE
def test_a_model_that_changes_its_arguments_leaves_the_next_trial_its_own(
    work: Work, tmp_path: Path
) -> None:
    (tmp_path / "greedy.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, input_shape, n_outputs, sizes):\n"
        "        super().__init__()\n"
        "        sizes.insert(0, 64)\n"
        "        assert sizes == [64, 16]\n"
        "        self.layers = torch.nn.Sequential(\n"
        "            torch.nn.Linear(64, 16), torch.nn.Linear(16, n_outputs))\n"
        "    def forward(self, x):\n"
        "        return self.layers(x.flatten(1))\n"
    )
    finished = work(
        "model._target_=greedy.Net", "~model.hidden", "+model.sizes=[16]",
        "study.n_trials=2",
    )  # fmt: skip
    assert [one.outcome for one in finished] == ["complete"] * 2


@ON_SQLITE
def test_a_run_of_the_confirmation_that_fails_leaves_the_others(
    work: Work, tmp_path: Path, either_url: str
) -> None:
    (tmp_path / "later.py").write_text(
        "seen = []\n"
        "def objective(recipe, report):\n"
        "    seen.append(recipe.batch_size)\n"
        "    if len(seen) == 3:\n"
        "        raise KeyboardInterrupt('\\udcff')\n"
        "    report(1, recipe.batch_size)\n"
    )
    finished = work(
        "objective._target_=later.objective", *each_of(2), "confirm.top=2", "confirm.seeds=2"
    )
    assert [one.outcome for one in finished] == ["complete"] * 2
    database = Database(either_url)
    with database.session() as session:
        runs = session.query(AuxiliaryRunRow).order_by(AuxiliaryRunRow.side_run_id).all()
    database.close()
    assert runs[0].outcome == "failed"
    assert r"KeyboardInterrupt: \udcff" in str(runs[0].reason)
    assert "complete" in {run.outcome for run in runs}


# What a training leaves behind


def test_what_a_training_changes_in_its_process_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    of_pytest = signal.setitimer(signal.ITIMER_REAL, 0.0)
    before = (signal.getsignal(signal.SIGTERM), torch.get_num_threads(), sys.stdout, np.geterr())
    with surroundings_kept():
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_grad_enabled(False)
        torch.set_num_threads(before[1] + 1)
        torch.set_autocast_enabled("cpu", True)
        np.seterr(all="raise")
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 1000.0)
        Path("elsewhere").mkdir()
        os.chdir("elsewhere")
        Path.cwd().rmdir()
        sys.stdout = None  # type: ignore[assignment]
    after = (signal.getsignal(signal.SIGTERM), torch.get_num_threads(), sys.stdout, np.geterr())
    assert after == before
    assert Path.cwd() == tmp_path
    assert signal.setitimer(signal.ITIMER_REAL, *of_pytest)[0] == 0.0
    made = torch.ones(1, requires_grad=True) * 2
    assert (made.dtype, made.device.type, made.requires_grad) == (torch.float32, "cpu", True)
    assert not torch.is_autocast_enabled("cpu")


def test_what_was_set_before_a_training_stays() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with surroundings_kept():
            torch.set_default_dtype(torch.float32)
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
