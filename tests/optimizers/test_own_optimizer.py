"""Optimizers of the user's own in a whole sweep: found a range, searched, resumed, repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Command
from local_worker import serve, submit

from lrsearch.cli.check_sweep import check_trial
from lrsearch.cli.compose import load_settings
from lrsearch.errors import ConfigErrors, UserError

SWEEP = """
description: three optimizers with something of their own
defaults:
  - override /data: digits
  - override /sampler: random
  - override /pruner: none
study: {n_trials: 3, balance: [optimizer]}
model: {hidden: [16]}
train:
  epochs: 4
  groups: [no_decay, {name: body, match: ^body, lr_factor: 0.5}]
space:
  batch_size: {value: 128}
  optimizer:
    only: [muon, lion, free]
    muon: {lr: {low: 1e-3, high: 1e-2, log: true}}
    lion:
      _target_: pytorch_optimizer.Lion
      lr: auto
      weight_decay: {low: 1e-3, high: 1.0, log: true}
    free:
      _target_: schedulefree.AdamWScheduleFree
      lr: {low: 1e-3, high: 1e-2, log: true}
"""


def test_a_sweep_of_them_from_the_range_test_to_the_report(command: Command) -> None:
    Path("sweeps").mkdir()
    Path("sweeps/own.yaml").write_text(SWEEP)
    submit("+sweep=own")
    for _ in range(3):
        serve(stop_after=45)  # in the middle of a training
    serve()
    code, out, error = command("status", "own", "--json")
    assert (code, error) == (0, "")
    assert '"complete": 3' in out, out
    found = {}
    for trial in range(3):
        # Whether it was interrupted or not, it is trained again without a stop.
        code, out, error = command("train", "own", "--trial", f"{trial}")
        assert (code, error) == (0, "")
        assert "equal to the last bit" in out, out
        script = command("best", "own", "--trial", f"{trial}", "--format", "python")[1]
        Path("best.py").write_text(script)
        found[trial] = (script, out)
    assert sum("from pytorch_optimizer import Lion" in one for one, _ in found.values()) == 1
    assert sum("from schedulefree import AdamW" in one for one, _ in found.values()) == 1
    assert sum("class MuonWithAdamW" in one for one, _ in found.values()) == 1
    assert command("report", "own")[0] == 0
    page = Path("outputs/own/report.html").read_text()
    for name in ("muon", "lion", "free"):
        assert f"{name}(" in page
    code, out, _ = command("show", "own", "0")
    assert code == 0
    code, out, error = command("try", "own", "optimizer=lion", "lion.weight_decay=0.01")
    assert (code, error) == (0, "")


def groups(rule: str, *only: str) -> list[str]:
    lion = "{_target_: pytorch_optimizer.Lion, lr: 1e-3}"
    return [
        "+sweep=digits", "model.hidden=[16]", f"space.optimizer.lion={lion}",
        f"space.optimizer.only=[{','.join(only)}]",
        f"train.groups=[{{name: body, match: body, {rule}}}]",
    ]  # fmt: skip


@pytest.mark.parametrize("rule", ["betas: [0.8, 0.9]", "fixed_decay: true", "lr_factor: 0.5"])
def test_a_group_can_have_what_the_optimizer_has_a_default_for(rule: str) -> None:
    settings = load_settings(groups(rule, "lion"))
    check_trial(settings, None)


@pytest.mark.parametrize(
    ("rule", "only", "said"),
    [
        ("momentum: 0.5", ["lion"], "groups.body.momentum: 'momentum' is unknown .valid: betas"),
        ("fixed_decya: true", ["lion"], "did you mean fixed_decay"),
        ("lr: 0.5", ["lion"], "groups.body.lr: 'lr' is unknown; did you mean lr_factor"),
        ("thing: 0.5", ["adamw", "lion"], "groups.body.thing: 'thing' is unknown"),
    ],
)
def test_what_it_does_not_take_is_named_with_what_it_does(
    rule: str, only: list[str], said: str
) -> None:
    with pytest.raises(ConfigErrors, match=said):
        load_settings(groups(rule, *only))


def test_what_it_takes_but_not_for_a_group_is_named() -> None:
    given = [*groups("use_gc: true", "lion"), "+space.optimizer.lion.use_gc=true"]
    given = [one.replace("pytorch_optimizer.Lion", f"{__name__}.make") for one in given]
    with pytest.raises(ConfigErrors, match=r"space\.weight_decay: no optimizer .*=null") as caught:
        load_settings(given)
    assert len(caught.value.problems) == 1
    given.append("space.weight_decay=null")
    with pytest.raises(UserError, match=r"groups\.body\.use_gc: .*make has no use_gc for a para"):
        check_trial(load_settings(given), None)


def make(params: object, lr: float, use_gc: bool = False) -> object:
    import pytorch_optimizer

    return pytorch_optimizer.Lion(params, lr=lr)  # type: ignore[arg-type]
