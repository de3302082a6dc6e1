"""A recipe's schedule on optimizers that the real timm makes."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from framework_trials import Ended, recipe_of, run_example

from lrsearch.checkpoints.store import NoCheckpoints
from lrsearch.cli.compose import load_settings
from lrsearch.objectives.command import CommandObjective
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("timm")]
LENGTH = Length(12, 4, 4)


def model() -> Any:
    import timm

    return timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=8, depth=2, embed_dim=16, num_heads=2
    )


def rates_of(recipe: Recipe, optimizer: torch.optim.Optimizer) -> list[list[float]]:
    """The rates of all groups at each step."""
    schedule = recipe.build_schedule(optimizer, LENGTH)
    rates = []
    for step in range(1, LENGTH.steps + 1):
        rates.append(schedule.rates)
        optimizer.step()
        schedule.step()
        if step % LENGTH.steps_per_evaluation == 0:
            schedule.evaluated({"val_loss": 1.0})
    return rates


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_with_layer_decay_all_groups_follow_the_preview_in_proportion(name: str) -> None:
    from timm.optim import create_optimizer_v2, param_groups_layer_decay

    recipe = recipe_of(name)
    groups = param_groups_layer_decay(model(), layer_decay=0.5)
    groups.reverse()  # the head first
    optimizer = create_optimizer_v2(groups, opt="adamw", lr=recipe.lr)
    scales = [group["lr_scale"] for group in optimizer.param_groups]
    assert scales[0] == 1.0
    assert len({*scales}) == 4
    preview = recipe.preview(LENGTH, [1.0] * LENGTH.evaluations).rates
    for rates, wanted in zip(rates_of(recipe, optimizer), preview, strict=False):
        assert rates == pytest.approx([wanted * scale for scale in scales])


def test_the_schedule_gives_what_timms_own_cosine_gives() -> None:
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler

    recipe = recipe_of("cosine", warmup=0)
    own, timms = (
        create_optimizer_v2(model(), opt="sgd", lr=recipe.lr, layer_decay=0.5) for _ in range(2)
    )
    scheduler = CosineLRScheduler(timms, t_initial=LENGTH.steps, t_in_epochs=False)
    # timm's first group is the lowest layer, and has its share of the rate.
    share = timms.param_groups[0]["lr_scale"]
    for step, rates in enumerate(rates_of(recipe, own)):
        scheduler.step_update(step)
        seen = [group["lr"] for group in timms.param_groups]
        assert [rate * share for rate in rates] == pytest.approx(seen)


SCRIPT = """
import argparse
import os

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import get_outdir, update_summary

parser = argparse.ArgumentParser()
for name in ("--lr", "--weight-decay"):
    parser.add_argument(name, type=float)
for name in ("--epochs", "--batch-size", "--seed"):
    parser.add_argument(name, type=int)
for name in ("--opt", "--sched", "--output", "--experiment"):
    parser.add_argument(name)
args = parser.parse_args()
torch.manual_seed(args.seed)
model = torch.nn.Linear(3, 1)
optimizer = create_optimizer_v2(model, opt=args.opt, lr=args.lr, weight_decay=args.weight_decay)
scheduler, epochs = create_scheduler_v2(optimizer, sched=args.sched, num_epochs=args.epochs)
folder = get_outdir(args.output, args.experiment)
x = torch.randn(64, 3)
for epoch in range(epochs):
    for batch in x.split(args.batch_size):
        optimizer.zero_grad()
        loss = (model(batch).squeeze(-1) - batch.sum(1)).square().mean()
        loss.backward()
        optimizer.step()
    update_summary(
        epoch,
        {"loss": loss.item()},
        {"loss": (model(x).squeeze(-1) - x.sum(1)).square().mean().item(), "top1": 50.0},
        filename=os.path.join(folder, "summary.csv"),
        lr=optimizer.param_groups[0]["lr"],
        write_header=epoch == 0,
    )
    scheduler.step(epoch + 1)
"""
"""A training with options of timm's train.py, which timm's package does not hold."""


def test_a_script_of_timms_is_read_by_the_file_that_it_writes(own_folder: Path) -> None:
    (own_folder / "train.py").write_text(SCRIPT)
    command = [
        "python", "train.py", "--opt", "adamw", "--lr", "{lr}",
        "--weight-decay", "{optimizer.weight_decay}", "--batch-size", "{batch_size}",
        "--epochs", "3", "--sched", "cosine", "--seed", "{seed}",
        "--output", "{checkpoint_dir}", "--experiment", "run",
    ]  # fmt: skip
    file = "{checkpoint_dir}/run/summary.csv"
    metrics = {"file": file, "epoch": "epoch", "val_loss": "eval_loss", "top1": "eval_top1"}
    config = ComponentConfig("command", {"command": command, "metrics": metrics})
    settings = dataclasses.replace(load_settings(["+sweep=digits"]), objective=config)
    objective, report = CommandObjective(settings, torch.device("cpu"), own_folder), Ended()
    recipe = recipe_of("cosine", optimizer=ComponentConfig("adamw"))
    checkpoints = NoCheckpoints()
    objective.run(recipe, 7, report, lambda: False, checkpoints)
    summary = Path(checkpoints.folder, "run", "summary.csv").read_text()
    rows = list(csv.DictReader(summary.splitlines()))
    assert [float(row["epoch"]) for row in rows] == [0, 1, 2]
    assert [(one.epoch, dict(one.values)) for one in report] == [
        (float(row["epoch"]) + 1, {"val_loss": float(row["eval_loss"]), "top1": 50.0})
        for row in rows
    ]


def test_the_example_of_the_documentation_trains(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, epochs = run_example("timm", own_folder, monkeypatch)
    assert [one.epoch for one in report] == list(range(1, int(epochs) + 1))
    assert report.warnings == []
