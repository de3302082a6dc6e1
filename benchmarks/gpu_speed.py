"""Speed of lrsearch on a GPU, as ratios of alternating measurements within one run."""

from __future__ import annotations

import dataclasses
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from gpu_rows import Plan, Row
from gpu_training import RECIPE, objective_of

from lrsearch.data.parts import TensorPart
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.training.loop import Task, Training

ROUNDS = 3
IMAGES = '''
import torch

def random_images(n):
    """Noise in the shape of CIFAR: for speed, not for learning."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, 3, 32, 32, generator=draw), torch.randint(10, (n,), generator=draw)
    return (x, y), (x[: n // 8], y[: n // 8])
'''
STEPS = {"mlp": (3000, 40), "cnn": (1500, 20), "resnet18": (200, 1)}
"""Steps of one training of each model, normally and with --short."""


def bare_loop(plan: Plan) -> list[Row]:
    """Compare lrsearch's loop with one by hand, on the same data, model and optimizer."""
    (plan.folder / "gpu_images.py").write_text(IMAGES)
    rows = []
    for model, steps in STEPS.items():
        count = steps[plan.short]
        length = [f"train.steps={count}", f"train.eval_every={count}st", f"model={model}"]
        images = [
            "data._target_=gpu_images.random_images",
            f"+data.n={256 if plan.short else 8192}",
        ]
        objective = objective_of(plan, *length, *(images if model == "resnet18" else []))
        assert isinstance(objective, TrainingObjective)
        ratios, ours = [], 0.0
        for _ in range(1 if plan.short else ROUNDS):
            by_hand = _timed(plan, _bare, objective)
            ours = _timed(plan, _drain, objective)
            ratios.append(ours / by_hand)
        ratio = statistics.median(ratios)
        span = f"{min(ratios):.2f} to {max(ratios):.2f}"
        each = f"{1e3 * ours / count:.3f} ms a step"
        shown = f"{ratio:.2f} ({span}), {each}"
        rows.append(Row(f"{model}: lrsearch / bare loop", shown, None, ratio))
    return rows


def _timed(plan: Plan, train: Callable[[Task], None], objective: TrainingObjective) -> float:
    """Return the seconds of one training, without building the model."""
    recipe = dataclasses.replace(RECIPE, batch_size=16) if plan.short else RECIPE
    task = objective.task(recipe, 0, lambda: False)
    _wait(plan)
    began = time.perf_counter()
    train(task)
    _wait(plan)
    return time.perf_counter() - began


def _wait(plan: Plan) -> None:
    if plan.device == "cuda":
        torch.cuda.synchronize()


def _drain(task: Task) -> None:
    for _ in Training(task).evaluations():
        pass


def _bare(task: Task) -> None:
    """Train by a careful hand-written loop that waits for the device only at its end."""
    train, validation = task.parts.train, task.parts.validation
    assert isinstance(train, TensorPart)
    assert isinstance(validation, TensorPart)
    model, size, steps = task.model, task.recipe.batch_size, task.length.steps
    optimizer = task.recipe.build_optimizer(model)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    model.train()
    done = 0
    while done < steps:
        order = torch.randperm(len(train)).to(task.device)
        for start in range(0, len(train) - size + 1, size):
            batch = order[start : start + size]
            optimizer.zero_grad(set_to_none=True)
            x, y = train.x.index_select(0, batch), train.y.index_select(0, batch)
            task.loss(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            scheduler.step()
            done += 1
            if done == steps:
                break
    model.eval()
    with torch.no_grad():
        losses = [
            task.loss(model(x), y)
            for x, y in zip(validation.x.split(1024), validation.y.split(1024), strict=True)
        ]
        float(torch.stack(losses).mean())


def synchronisations(plan: Plan) -> list[Row]:
    """Count how often an epoch, evaluation included, waits for the device."""
    if plan.device != "cuda":
        return [Row("synchronisations an epoch", "not measured: there is no card", None)]
    objective = objective_of(plan, "train.epochs=2")
    assert isinstance(objective, TrainingObjective)
    task = objective.task(RECIPE, 0, lambda: False)
    evaluations = Training(task).evaluations()
    next(evaluations)  # work that is done only once is not counted
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            next(evaluations)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    count = sum("synchronizing CUDA" in str(warning.message) for warning in caught)
    steps = task.length.steps_per_epoch
    return [Row("synchronisations an epoch", f"{count} in {steps} steps", None, count)]


def data_on_device(plan: Plan) -> list[Row]:
    """Compare batches gathered on the device with batches that are copied to it one at a time."""
    batches = 50 if plan.short else 1000
    draw = torch.Generator().manual_seed(0)
    host = torch.randn(8192, 3, 32, 32, generator=draw)
    there = host.to(plan.device)
    pinned = host.pin_memory() if plan.device == "cuda" else host
    ratios = []
    for _ in range(ROUNDS):
        copied = _gathered(plan, pinned, batches)
        gathered = _gathered(plan, there, batches)
        ratios.append(copied / gathered)
    ratio = statistics.median(ratios)
    shown = f"{ratio:.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
    return [Row("batches copied / gathered on the device", shown, None, ratio)]


def _gathered(plan: Plan, x: torch.Tensor, batches: int) -> float:
    order = torch.randint(len(x), (batches, 128), device=x.device)
    _wait(plan)
    began = time.perf_counter()
    for indices in order:
        x.index_select(0, indices).to(plan.device, non_blocking=True).mul_(1.0)
    _wait(plan)
    return time.perf_counter() - began


def workers(plan: Plan) -> list[Row]:
    """Measure trials per time by one, two and four workers on one device."""
    trials = 4 if plan.short else 8
    seconds: dict[int, float] = {}
    rows = []
    for count in (2,) if plan.short else (1, 2, 4):
        name = f"by_{count}"
        plan.lrsearch(
            f"+sweep={plan.dataset}", f"study.name={name}", f"study.n_trials={trials}",
            f"workers={count}", "sampler=random", "pruner=none", "space.batch_size={value: 256}",
            "train.epochs=" + ("5" if plan.short else "10"), *plan.arguments,
        )  # fmt: skip
        outcomes = [unit["outcome"] for unit in plan.units(name)]
        seconds[count] = plan.seconds(name)
        right = len(outcomes) == trials and not {"failed", "crashed"} & set(outcomes)
        ratio = next(iter(seconds.values())) / seconds[count]
        shown = f"{trials} trials in {seconds[count]:.1f} s, {ratio:.2f} of the first row's pace"
        rows.append(Row(f"{count} worker{'s' * (count > 1)} on one device", shown, right, ratio))
    return rows
