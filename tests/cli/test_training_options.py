"""A study with the options of training: its numbers, what is said of them, and its script."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import yaml
from command_line import Command

OPTIONS = (
    "data.folds=2", "train.early_stopping={patience: 1, min_delta: 9}", "train.ema=0.9",
    "train.micro_batch=auto", "train.epochs=4",
)  # fmt: skip


@pytest.mark.slow
def test_a_study_of_folds_that_end_early(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = command(
        "+sweep=digits", "study.n_trials=2", "workers=1", "sampler=random", *OPTIONS
    )
    assert code == 0, error
    assert "last evaluation, mean over 2 folds" in out
    code, out, _ = command("show", "digits", "0")
    assert "why it ended" in out
    assert "early stopping: val_loss has not improved by more than 9 for 1 evaluation" in out
    # Each fold has had two of its four evaluations.
    _, out, _ = command("show", "digits", "0", "--json")
    assert [one["evaluation"] for one in json.loads(out)["evaluations"]] == [1, 2, 5, 6]
    recorded = yaml.safe_load(Path("outputs/digits/best.yaml").read_text())["value"]
    runpy.run_path("outputs/digits/best.py", run_name="__main__")
    assert float(capsys.readouterr().out.split()[-1]) == recorded
    _, out, _ = command("train", "outputs/digits/best.yaml")
    assert "equal to the last bit" in out


def test_gpus_that_have_no_sample_of_a_batch_are_refused(command: Command) -> None:
    Path("four_samples.py").write_text(
        "import torch\n"
        "def load():\n"
        "    x, y = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])\n"
        "    return (x, y), (x, y)\n"
    )
    code, _, error = command(
        "+sweep=digits", "data._target_=four_samples.load", "train.gpus=5", "train.device=cpu"
    )
    assert code == 2
    assert "four_samples.load has 4 training samples, too few for 5 GPUs to share" in error
    assert not Path("lrsearch.db").exists()


@pytest.mark.parametrize("key", ["train.ema=0.9", "train.early_stopping=5", "data.folds=5"])
def test_a_loop_of_ones_own_does_these_things_itself(command: Command, key: str) -> None:
    code, _, error = command(
        "+sweep=digits", "objective={_target_: lrsearch.files.write_whole}", key
    )
    assert code == 2
    assert f"{key.partition('=')[0]}: it is for lrsearch's own training" in error
