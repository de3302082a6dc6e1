"""The command line as a user has it: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Command, Query, Run
from sqlalchemy import update

from lrsearch.cli import run
from lrsearch.cli.compose import load_settings
from lrsearch.launchers.supervisor import Supervisor
from lrsearch.storage.tables import StudyRow
from lrsearch.text.yaml import to_yaml


def test_alone_it_lists_the_sweeps_a_line_each(lrsearch: Run) -> None:
    done = lrsearch()
    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert {"mnist", "digits", "linear"} <= {words[0] for words in lines}
    assert all(len(words) > 3 for words in lines)


def test_an_unknown_sweep_lists_them_with_exit_code_2(lrsearch: Run) -> None:
    done = lrsearch("+sweep=mnits")
    assert done.returncode == 2
    assert "did you mean mnist?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("storage.url=sqlite://", "SQLite needs the path of a file"),
        ("storage.url=sqlite:///:memory:", "SQLite needs the path of a file"),
        ("storage.url=sqlite:///file:x.db?uri=true", "SQLite needs the path of a file"),
        ("storage.url=sqlite:///a?b.db", "in the name of a file write it as %3F"),
        ("train.device=cuda:99", "train.device: 'cuda:99' is not on this machine"),
        ("model.hidden=abc", "model.hidden: 'abc' is not a list of widths, such as [256, 128]"),
        ("model.hidden=[0]", "model.hidden: [0] is not a list of widths"),
        ("model.dropout=7", "model.dropout: 7 is out of range"),
        ("space.model.dropout={low: 0, high: 1.5}", "space.model.dropout: 1.5 is out of range"),
        ("train.loss=mse", "train.loss: mse is of numbers, and the targets of these data are 10"),
        ("train.metrics=[mae]", "train.metrics.mae: mae is of numbers"),
        ("coupling.reference=0", "coupling.reference: 0 is below 1"),
        ("space.warmup=15ep", "space.warmup: 15ep is all of the training, 15ep"),
        ("space.warmup.choices=[0,20ep]", "space.warmup: 20ep is all of the training, 15ep"),
        ("study.try_first={lr:0.5}", "it is a list: write study.try_first=[...]"),
        ("output_dir=/proc/x", "output_dir: cannot write to /proc/x/digits"),
        ("storage.checkpoints=/proc/x", "storage.checkpoints: cannot write to /proc/x"),
        ("storage.url=sqlite:////proc/no/x.db", "storage.url: cannot use the database"),
        ("coupling=[sqrt]", "it has keys of its own: write coupling.KEY=VALUE"),
        ("space.scheduler.cosine.warmup=15ep", "space.scheduler.cosine.warmup: 15ep is all of"),
        ("storage.checkpoints=nowhere://x", "storage.checkpoints: nowhere://x cannot be used"),
    ],
)
def test_what_its_own_workers_would_stumble_over_is_said_before_anything_is_stored(
    command: Command, tmp_path: Path, given: str, said: str
) -> None:
    code, _, error = command("+sweep=digits", given)
    assert code == 2
    assert said in error
    assert list(tmp_path.iterdir()) == []


def test_what_is_measured_is_held_against_the_data_before_anything_is_tried(
    command: Command,
) -> None:
    for arguments in (("+sweep=digits", "dry_run=true"), ("range-test", "+sweep=digits")):
        code, _, error = command(*arguments, "train.loss=mse")
        assert code == 2
        assert "train.loss: mse is of numbers" in error
    code, _, error = command("+sweep=linear", "train.metrics=[accuracy]", "dry_run=true")
    assert code == 2
    assert "train.metrics.accuracy: accuracy is of classes" in error


def test_several_zeros_and_ones_are_taken_for_labels_with_a_warning(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "labelled.py").write_text(
        "import torch\n"
        "def load():\n"
        "    x = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))\n"
        "    y = (x > 0).float()\n"
        "    return (x[:60], y[:60]), (x[60:], y[60:])\n"
    )
    own = ("+sweep=digits", "~data.name", "data._target_=labelled.load", "dry_run=true")
    code, out, _ = command(*own)
    assert code == 0
    assert "WARNING: all targets are 0 or 1" in out
    assert "train.loss=bce_with_logits" in out
    code, out, _ = command(*own, "train.loss=mse")
    assert (code, "WARNING" in out) == (0, False)


def test_of_a_model_of_ones_own_nobody_knows_what_it_puts_out(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "ages.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.head = nn.Linear(64, 1)\n"
        "    def forward(self, x):\n"
        "        return self.head(x.flatten(1))[:, 0]\n"
    )
    own = ("model._target_=ages.Net", "~model.hidden", "train.loss=mse", "train.metrics=[mae]")
    code, _, error = command("+sweep=digits", *own, "dry_run=true")
    assert (code, error) == (0, "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("model._target_=wrong_models.Two",), "train.loss: the model returns a tuple of 2"),
        (("model._target_=wrong_models.Frozen",), "all parameters of wrong_models.Frozen are"),
        (
            ("space.scheduler.only=[lambda]", "space.scheduler.lambda.formula.value='1/epoch'"),
            "space.scheduler.lambda.formula: '1/epoch' cannot be computed at step 0",
        ),
    ],
)
def test_what_every_trial_would_fail_of_is_said_before_anything_is_stored(
    command: Command, tmp_path: Path, given: tuple[str, ...], said: str
) -> None:
    (tmp_path / "wrong_models.py").write_text(
        "from torch import nn\n"
        "class Frozen(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.head = nn.Linear(64, 10).requires_grad_(False)\n"
        "    def forward(self, x):\n"
        "        return self.head(x.flatten(1))\n"
        "class Two(Frozen):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.requires_grad_(True)\n"
        "    def forward(self, x):\n"
        "        return super().forward(x), None\n"
    )
    own = ("~model.hidden",) if given[0].startswith("model") else ()
    code, _, error = command("submit", "+sweep=digits", *given, *own)
    assert code == 2
    assert said in error
    assert not list(tmp_path.glob("*.db"))


def test_bad_input_exits_with_2_and_nothing_is_left_behind(
    command: Command, tmp_path: Path
) -> None:
    code, _, error = command("+sweep=digits", "study.n_trails=3", "space.lr.low=-1")
    assert code == 2
    assert "2 problems" in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_is_bad_input(command: Command) -> None:
    code, _, error = command("trian", "best.yaml")
    assert code == 2
    assert "did you mean train?" in error


def test_help_is_hydras_with_the_catalogue(lrsearch: Run) -> None:
    done = lrsearch("--help")
    assert done.returncode == 0
    for said in ("sampler: auto, cmaes, gp, grid", "n_trials: 30", "train"):
        assert said in done.stdout


def test_the_configuration_is_shown_resolved_by_sweep(command: Command, tmp_path: Path) -> None:
    code, out, _ = command("+sweep=digits", "--cfg", "job", "--package", "study")
    assert code == 0
    assert "n_trials: 20" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # test_redaction.py looks at each command in short
def test_no_way_of_showing_the_configuration_shows_a_password(command: Command) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/db"
    for arguments in (
        ("+sweep=digits", f"storage.url={url}", "--cfg", "job"),
        ("+sweep=digits", f"storage.url={url}", "--cfg", "all"),
        ("+sweep=digits", f"storage.url={url}", "--info", "config"),
        ("+sweep=digits", f"storage.url={url}"),
        ("+sweep=digits", f"storage.url={url}", "--help"),
    ):
        _, out, error = command(*arguments)
        _, shown, complaint = command(arguments[0], *arguments[2:], LRSEARCH_STORAGE=url)
        assert "hunter2" not in out + error + shown + complaint, arguments
        assert "Traceback" not in error + complaint, arguments


def test_a_database_out_of_reach_is_a_clear_error(command: Command) -> None:
    code, _, error = command("+sweep=digits", "storage.url=postgresql+psycopg://me@127.0.0.1:1/db")
    assert code == 2
    assert "cannot use the database" in error
    code, _, error = command("+sweep=digits", "storage.url=sqlite:////nowhere/at/all/x.db")
    assert code == 2
    assert "cannot use the database" in error


def test_multirun_is_refused_with_the_reason(command: Command) -> None:
    code, _, error = command("--multirun", "+sweep=digits")
    assert code == 2
    assert "search space" in error


def test_what_is_tried_first_is_shown_as_it_is_written(command: Command) -> None:
    first = "study.try_first=[{lr: 0.1, batch_size: 64}]"
    code, out, error = command("+sweep=digits", "dry_run=true", first, "train.epochs=1")
    assert code == 0, error
    (shown,) = re.findall("tried first, as far as given\n(.*)\n", out)
    assert set(shown.split()) == {"lr=0.1", "batch_size=64", "optimizer=sgd"}


_READ = [("status",), ("preview", "scheduler=cosine"), ("sweeps",)]
_READ_TOO = [
    ("status", "--json"), ("best", "digits"), ("show", "digits", "0"),
    ("compare", "digits", "0", "1"), ("export", "digits", "--format", "json"),
    ("preview", "+sweep=digits"), ("--help",),
]  # fmt: skip
"""Each takes seconds, and differs from the others in little."""


@pytest.mark.parametrize(
    "arguments", [*_READ, *(pytest.param(one, marks=pytest.mark.slow) for one in _READ_TOO)]
)
def test_a_reader_that_has_gone_is_no_failure(
    sweep_folder: Path, environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lrsearch", *arguments],
            cwd=sweep_folder,
            env=environment,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_dry_run_shows_recipes_and_cost_and_stores_nothing(
    command: Command, tmp_path: Path
) -> None:
    code, out, error = command("+sweep=digits", "dry_run=true")
    assert code == 0, error
    assert sum("batch=" in line for line in out.splitlines()) == 6
    for said in ("20 trials", "ms a step", "MiB", "the whole:"):
        assert said in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dry_run", ["true", "false"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("storage.url=sqlite:///nowhere/x.db", "storage.url: cannot use the database"),
        ("output_dir=taken/out", "output_dir: cannot write to"),
        ("storage.checkpoints=nowhere://x", "storage.checkpoints: nowhere://x cannot be used"),
    ],
)
def test_a_dry_run_refuses_the_places_that_the_sweep_refuses(
    command: Command, tmp_path: Path, given: str, said: str, dry_run: str
) -> None:
    (tmp_path / "taken").write_text("a file where a folder is to be")
    code, _, error = command("+sweep=digits", given, f"dry_run={dry_run}")
    assert code == 2
    assert said in error
    assert [one.name for one in tmp_path.iterdir()] == ["taken"]


def test_a_single_one_is_counted_in_the_singular(command: Command) -> None:
    _, out, error = command("+sweep=digits", "study.n_trials=1", "workers=1", "dry_run=true")
    assert error == ""
    assert "1 trial by 1 worker\n" in out


def test_a_dry_run_confirms_no_more_than_there_are(command: Command) -> None:
    _, out, _ = command("+sweep=digits", "dry_run=true", "study.n_trials=2", "confirm.top=3")
    assert "then the best 2 again on 5 fresh seeds: up to 10 runs" in out


def test_ctrl_c_before_the_workers_says_how_to_go_on(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Supervisor, "run", interrupted)
    code, out, _ = command("+sweep=digits", "space.optimizer.only=[sgd]")
    assert code == 130
    words = "python -m lrsearch +sweep=digits 'space.optimizer.only=[sgd]'"
    assert out.endswith(f"stopped; to go on: {words}\n")


def test_ctrl_c_after_the_workers_does_not_say_that_there_is_more(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Supervisor, "run", lambda *_: None)
    monkeypatch.setattr(run, "conclude", interrupted)
    code, out, error = command("+sweep=digits")
    assert code == 130
    assert "to go on" not in out
    assert error.endswith("interrupted\n")


def test_time_counts_to_the_end_of_a_run_that_is_stopped_early(
    command: Command, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    def five_seconds_later(supervisor: Supervisor, _: float | None) -> bool:
        with supervisor.sweep.session_of.begin() as session:
            session.execute(update(StudyRow).values(ticked_at=StudyRow.ticked_at - 5.0))
        return False

    monkeypatch.setattr(Supervisor, "_turn", five_seconds_later)
    command("+sweep=digits")
    ((seconds,),) = query("select seconds from lrsearch_studies")
    assert seconds >= 5.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("pruner=null", "pruner: 'null' is unknown; did you mean none? (valid: asha,"),
        ("sampler=[tpe]", "sampler: '[tpe]' is unknown; did you mean tpe? (valid: auto,"),
        ("train.loss=a=b", "write 'train.loss=\"a=b\"'"),
        ("a b=3", "a b=3: not of the form key=value\n"),
        ("objective.command=[t, {lr}, {lr}]", 'a value in braces needs quotes: "{lr}"\n'),
        (
            'objective.command=[torchrun, --nproc-per-node=2, t.py, --lr, "{lr}"]',
            'a word with = in a list needs quotes: "--nproc-per-node=2"\n',
        ),
        ("~sweep=digits", "~sweep=digits: there is no sweep to take away"),
        ("train.micro_batch=true", "train.micro_batch: true is not a number of samples"),
        (
            "train.micro_batch=0",
            "train.micro_batch: 0 is not a number of samples from 1",
        ),
        ("train.micro_batch=2.5", "train.micro_batch: 2.5 is not a number of samples"),
        ("objective.grace=3", "objective: it names no training of yours"),
        ("train.micro_batch=most", "train.micro_batch: 'most' is not a number of samples"),
        ("train.compile=fast", "train.compile: 'fast' is not true or false, or a mode of torch"),
        ("train.compile=1", "train.compile: 1 is not true or false"),
        ("train.ema=1.0", "train.ema.decay: 1.0 is not valid: it should be less than 1"),
        ("train.ema=true", "train.ema: true is not a decay such as 0.999, a mapping, or null"),
        ("train.ema={decy: 0.9}", "train.ema.decy: 'decy' is unknown; did you mean decay?"),
        ("train.early_stopping=0", "train.early_stopping.patience: 0 is not valid"),
        ("train.early_stopping={min_delta: -1}", "train.early_stopping.min_delta: -1"),
        ("train.early_stopping=5ep", "train.early_stopping: '5ep' is not a number of evaluations"),
        ("train.channels_last=2", "train.channels_last: 2"),
        ("train.device=null", "1 problem:"),
        ("space.optimizer=true", "true is not a mapping: write space.optimizer.only=[true]"),
        ("space.optimizer.only=[[sgd]]", "did you mean sgd?"),
        ("space.optimizer.only=[null]", "'null' is unknown"),
        ("space.lr={low: {a: null}, high: 1}", "space.lr.low: {a: null} is not a number"),
        ("space={betas: [0.9, 0.9], optimizer: {only: [sgd], sgd: {momentum: 2}}}", "2 problems:"),
        ("study.balance=scheduler", "did you mean [scheduler]?"),
        ("sampler.n_startup_trials=null", "sampler.n_startup_trials: null is not a whole number"),
        ("space.optimizer.only=[foo]", "1 problem:"),
        ("space={lr: auto, optimizer: {only: [foo]}}", "1 problem:"),
        ("space={betas: [0.9, 0.9], optimizer: {only: [foo, sgd]}}", "1 problem:"),
        ("workers=null", "workers: null is not"),
        ("space.grad_clip=[1.0,null,null]", "[1.0, null, null] has a value twice"),
        ("space.lr.low=true", "space.lr.low: true is not a number"),
        (
            "train.amp=null",
            "null is not valid: it should be 'none', 'bf16' or 'fp16'; did you mean none?\n",
        ),
    ],
)
def test_what_is_wrong_is_said_in_the_users_words(command: Command, given: str, said: str) -> None:
    code, _, error = command("+sweep=digits", "sampler=tpe", given)
    assert code == 2
    assert said in error


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--n_trials", "5"], "--n_trials is not an option here; did you mean study.n_trials=5?"),
        (["--n-trials=5"], "--n-trials is not an option here; did you mean study.n_trials=5?"),
        (["--epochs"], "did you mean train.epochs=VALUE?"),
        (["--dry-run"], "--dry-run is not an option here; did you mean dry_run=VALUE?"),
        (["--sweep", "digits"], "--sweep is not an option here; did you mean +sweep=digits?"),
        (["--sweeps=digits"], "--sweeps is not an option here; did you mean +sweep=digits?"),
        (["--confg-dir", "x"], "--confg-dir is not an option here; did you mean --config-dir?"),
        (["--conf"], "--conf is not an option here"),
        (["--bogus_option"], "settings are given as key=value"),
    ],
)
def test_an_option_that_is_a_setting_is_told_as_one(
    command: Command, given: list[str], said: str
) -> None:
    for arguments in (["+sweep=digits", *given], [*given, "+sweep=digits"]):
        code, _, error = command(*arguments)
        assert code == 2
        assert said in error
        assert error.startswith("error: 1 problem:")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--cfg", "jobs"], "error: --cfg/-c: invalid choice: 'jobs'"),
        (["--config-dir"], "error: --config-dir/-cd: expected one argument"),
    ],
)
def test_an_option_without_its_value_is_told_without_a_usage(
    command: Command, given: list[str], said: str
) -> None:
    code, _, error = command("+sweep=digits", *given)
    assert code == 2
    assert said in error
    assert "usage" not in error


def test_settings_after_an_option_count(command: Command) -> None:
    for arguments in (
        ["+sweep=digits", "train.epochs=77", "--cfg", "job", "workers=13"],
        ["--cfg", "job", "+sweep=digits", "train.epochs=77", "workers=13"],
        ["+sweep=digits", "--cfg", "job", "train.epochs=77", "workers=13"],
    ):
        code, out, error = command(*arguments)
        assert code == 0, error
        assert "epochs: 77" in out
        assert "workers: 13" in out


def test_the_whole_configuration_is_shown_without_passwords(lrsearch: Run) -> None:
    """The settings stand after an option, which Hydra's own parser does not take."""
    url = "storage.url=postgresql://u:SECRET@h/d"
    done = lrsearch("+sweep=digits", "study.n_trials=1", "--cfg", "all", url)
    assert done.returncode == 0, done.stderr
    assert "url: postgresql://u:***@h/d" in done.stdout
    assert "SECRET" not in done.stdout + done.stderr


@pytest.mark.parametrize("given", ["+sweeps=digits", "sweeps=digits", "+swep=digits"])
def test_a_misspelt_sweep_is_helped(command: Command, given: str) -> None:
    code, _, error = command(given, "study.n_trials=5")
    assert code == 2
    assert f"did you mean +sweep=digits in place of {given}?" in error


def test_a_sweep_where_a_study_is_meant_is_told(command: Command) -> None:
    code, _, error = command("status", "+sweep=digits")
    assert code == 2
    assert "did you mean the study digits?" in error


def test_a_batch_larger_than_the_data_is_refused_and_a_range_is_cut(command: Command) -> None:
    code, _, error = command("+sweep=digits", "space.batch_size={choices: [100000]}")
    assert code == 2
    assert "100000 is larger than the 1,078 training samples of digits" in error
    code, out, _ = command("+sweep=digits", "space.batch_size.high=4096", "dry_run=true")
    assert code == 0
    assert "space.batch_size: the range ends at 1024, not 4096" in out


def test_a_broken_sweep_file_is_no_hindrance_to_the_others(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "half.yaml").write_text("study: {n_trials: 2\n")
    (tmp_path / "sweeps" / "listed.yaml").write_text("- a\n")
    assert command("+sweep=digits", "dry_run=true")[0] == 0
    for name, said in (("half", ":2: this is not YAML"), ("listed", " is not a mapping of keys")):
        code, _, error = command(f"+sweep={name}")
        assert code == 2
        assert f"sweeps/{name}.yaml{said}" in error
    listed = {one["name"]: one for one in json.loads(command("sweeps", "--json")[1])}
    assert "half.yaml" in listed["half"]["description"]
    assert listed["digits"]["problem"] is None


def test_a_part_that_a_sweep_file_chooses_in_vain_is_named(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "typo.yaml").write_text("defaults: [{override /data: digit}]\n")
    code, _, error = command("+sweep=typo")
    assert code == 2
    assert "data: 'digit' is unknown; did you mean digits?" in error
    assert "in the defaults of sweep/typo" in error


def test_a_part_that_a_file_of_ones_own_chooses_in_vain_is_named_with_the_file(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "mine.yaml").write_text("defaults: [/data: nope, mlp]\n")
    code, _, error = command("+sweep=digits", "model=mine", "--config-dir", "own")
    assert code == 2
    assert "data: 'nope' is unknown" in error
    assert "in the defaults of model/mine" in error


def test_a_group_that_is_not_there_is_named(command: Command, tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "typo.yaml").write_text("defaults: [{/nogroup: x}]\n")
    code, _, error = command("+sweep=typo")
    assert code == 2
    assert "nogroup/x" in error
    assert "there are none" not in error


@pytest.mark.parametrize("given", ["~sweep=digits", "+sweep={a: 1}"])
def test_what_chooses_no_sweep_is_told_how_to(command: Command, given: str) -> None:
    code, _, error = command(given)
    assert code == 2
    assert "no sweep is chosen; add +sweep=NAME:" in error


def test_a_part_without_parameters_says_so(command: Command) -> None:
    code, _, error = command("+sweep=digits", "pruner=none", "pruner.keep=0.1")
    assert code == 2
    assert "pruner.keep: 'keep' is unknown: there are none" in error


def test_a_record_that_was_edited_by_hand_is_read_like_any_file(
    command: Command, tmp_path: Path
) -> None:
    plain = load_settings(["+sweep=digits", "train.epochs=1"]).plain
    record = {
        "study": "s", "trial": 0, "metric": "val_loss", "at": "best", "value": 0.5, "seed": 0,
        "recipe": {"lr": "LR", "batch_size": 64, "optimizer": "sgd", "scheduler": "constant"},
        "machine": {"threads": 1}, "data": None, "config": dict(plain),
    }  # fmt: skip
    text = to_yaml(record)
    (tmp_path / "mine.yaml").write_text(text.replace("LR", "1e-3").replace("seed: 0", "seed: 0x1"))
    code, out, error = command("train", "mine.yaml")
    assert code == 0, error
    assert "sgd lr=0.001 batch=64 constant" in out
    broken = text.replace("value: 0.5", "value: low").replace("threads: 1", "threads: many")
    (tmp_path / "mine.yaml").write_text(broken)
    code, _, error = command("train", "mine.yaml")
    assert code == 2
    assert "mine.yaml: value: 'low' is not a number" in error
    (tmp_path / "mine.yaml").write_text(text + "seed: 3\n")
    code, _, error = command("train", "mine.yaml")
    assert code == 2
    assert re.search(r"mine.yaml:\d+: the key seed is given twice", error)


def test_train_refuses_what_is_no_record(command: Command, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("a: 1\n")
    code, _, error = command("train", "other.yaml")
    assert code == 2
    assert "not a best.yaml" in error
    code, _, error = command("train", "missing.yaml")
    assert code == 2
    assert "cannot read missing.yaml" in error


@pytest.mark.parametrize("flag", ["--cfg", "--info"])
def test_what_hydra_refuses_is_bad_input(command: Command, flag: str) -> None:
    code, _, error = command("+sweep=digits", flag, "all", "storage.ulr=x")
    assert code == 2
    assert "storage.ulr" in error
    assert "HYDRA_FULL_ERROR" not in error
