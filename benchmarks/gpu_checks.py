"""Checks that lrsearch is correct on a GPU, each by what a user sees."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from gpu_rows import LONGEST_COMMAND, Plan, Row
from gpu_training import RECIPE, Collected, objective_of, trained

from lrsearch.checkpoints.store import Store
from lrsearch.checkpoints.weights import load_weights
from lrsearch.objectives.base import Objective
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.training.batches import EvaluationBatches
from lrsearch.training.loop import Stopped
from lrsearch.training.scores import mean_scores

FAILED = ("failed", "crashed")
GOOD = 0.9
"""Validation accuracy that a correct training reaches on both data sets."""
HUNGRY = """
import torch

class Net(torch.nn.Module):
    def __init__(self, n_outputs, n_inputs):
        super().__init__()
        self.layer = torch.nn.Linear(n_inputs, n_outputs)

    def forward(self, x):
        if len(x) > 64 and self.training:
            torch.empty(len(x) * 2**40, device=x.device)  # no machine has that much
        return self.layer(x.flatten(1))
"""
"""A model that larger batches do not fit into."""


def sweep(plan: Plan) -> list[Row]:
    """Run a sweep: all trials must complete on the device, and the best must be good."""
    trials, epochs = (4, 2) if plan.short else (12, 3)
    plan.lrsearch(
        f"+sweep={plan.dataset}", "study.name=whole", f"study.n_trials={trials}", "workers=1",
        f"train.epochs={15 if plan.dataset == 'digits' else epochs}",
        "metric.name=val_accuracy", *plan.arguments,
    )  # fmt: skip
    units = plan.units("whole")
    outcomes = Counter(str(unit["outcome"]) for unit in units)
    best = max(float(unit["value"] or 0.0) for unit in units)
    on_device = all(str(unit["device"]).startswith(plan.device) for unit in units)
    said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    right = len(units) == trials and on_device and not any(outcomes[one] for one in FAILED)
    what = f"{trials} trials of {plan.dataset}"
    return [
        Row(what, f"{said}, {units[0]['device']}", right),
        Row(f"{what}: best accuracy", f"{best:.4f}", best >= GOOD, best),
    ]


def takeover(plan: Plan) -> list[Row]:
    """Kill a worker in the middle of a trial: another must take it over and finish it."""
    plan.lrsearch(
        "submit", f"+sweep={plan.dataset}", "study.name=killed", "study.n_trials=1",
        "queue.lease=3", "train.epochs=60", "pruner=none", "train.checkpoint_every=20",
        "space.batch_size={value: 64}", *plan.arguments,
    )  # fmt: skip
    first = plan.worker()
    _wait_for_evaluations(plan, "killed", 5)
    first.kill()
    first.wait()
    second = plan.worker()
    try:
        code = second.wait(timeout=LONGEST_COMMAND)
    finally:
        second.kill()
    [unit] = plan.units("killed")
    evaluations = [
        number
        for (number,) in plan.query(
            "SELECT evaluation FROM lrsearch_epochs WHERE trial_id = ? ORDER BY step",
            unit["trial_id"],
        )
    ]
    whole = evaluations == list(range(1, 61))
    right = code == 0 and unit["attempts"] == 2 and unit["outcome"] == "complete" and whole
    found = f"{unit['outcome']}, attempt {unit['attempts']}, {len(evaluations)} of 60 evaluations"
    return [Row("a worker is killed, another takes over", found, right)]


def _wait_for_evaluations(plan: Plan, study: str, count: int) -> None:
    """Wait until a study has `count` evaluations. Raises TimeoutError."""
    patience = time.monotonic() + LONGEST_COMMAND
    while time.monotonic() < patience:
        [(found,)] = plan.query(
            "SELECT count(*) FROM lrsearch_epochs e JOIN lrsearch_studies s"
            " ON s.study_id = e.study_id WHERE s.name = ?",
            study,
        )
        if found >= count:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{study} has no {count} evaluations after {LONGEST_COMMAND:g} s")


def resume(plan: Plan) -> list[Row]:
    """Interrupt and resume a training: it must end with the weights of an uninterrupted one."""
    objective = objective_of(plan, "model=cnn", "train.steps=60", "train.eval_every=20st")
    torch.use_deterministic_algorithms(True)
    try:
        _, whole = trained(objective)
        whole = {name: tensor.clone() for name, tensor in whole.items()}
        _, again = _with_a_break(plan, objective, at=33)
    finally:
        torch.use_deterministic_algorithms(False)
    off = max(float((whole[name] - again[name]).abs().max()) for name in whole)
    found = "equal to the last bit" if off == 0 else f"largest difference {off:.3g}"
    return [Row("resume, deterministic algorithms", found, off == 0, off)]


def _with_a_break(
    plan: Plan, objective: Objective, at: int
) -> tuple[Collected, dict[str, torch.Tensor]]:
    """Train, stopping after some steps and resuming from the checkpoint."""
    checkpoints = Store(str(plan.folder / "checkpoints")).trial_slot("resumed", 0)
    steps = iter(range(1, 10_000))
    try:
        trained(objective, checkpoints=checkpoints, should_stop=lambda: next(steps) >= at)
    except Stopped:
        found, weights = trained(objective, checkpoints=checkpoints)
        return found, dict(weights)
    raise RuntimeError("the training did not stop")


def precision(plan: Plan) -> list[Row]:
    """Check that half precision learns as much as single precision."""
    rows = []
    for amp in ("none", "bf16", "fp16"):
        epochs = 12 if plan.dataset == "digits" else 2
        found, _ = trained(objective_of(plan, f"train.amp={amp}", f"train.epochs={epochs}"))
        accuracy = found[-1].values["val_accuracy"]
        shown = f"accuracy {accuracy:.4f} after {epochs} epochs"
        rows.append(Row(f"precision: train.amp={amp}", shown, accuracy >= GOOD, accuracy))
    return rows


def out_of_memory(plan: Plan) -> list[Row]:
    """Check that a batch that does not fit ends only its trial, as infeasible for the sampler."""
    (plan.folder / "hungry.py").write_text(HUNGRY)
    plan.lrsearch(
        f"+sweep={plan.dataset}", "study.name=hungry", "study.n_trials=4", "workers=1",
        "sampler=random", "pruner=none", "train.epochs=1", "~model.hidden",
        "model._target_=hungry.Net", "+model.n_inputs=" + _inputs(plan),
        "space.batch_size={choices: [64, 128]}", "study.balance=[]",
        "study.try_first=[{batch_size: 64}, {batch_size: 128}]", *plan.arguments,
    )  # fmt: skip
    units = plan.units("hungry")
    expected = {64: "complete", 128: "out_of_memory"}
    right = len(units) == 4 and all(
        unit["outcome"] == expected[unit["recipe"]["batch_size"]] for unit in units
    )
    constraints = plan.query(
        "SELECT count(*) FROM trial_system_attributes a JOIN trials t ON t.trial_id = a.trial_id"
        " JOIN lrsearch_studies s ON s.study_id = t.study_id"
        " WHERE s.name = 'hungry' AND a.key LIKE '%constraints%works' AND a.value_json = '1.0'"
    )[0][0]
    infeasible = sum(unit["outcome"] == "out_of_memory" for unit in units)
    outcomes = Counter(str(unit["outcome"]) for unit in units)
    said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    found = f"{said}; infeasible to the sampler: {constraints}"
    return [Row("out of memory, forced", found, right and constraints == infeasible)]


def _inputs(plan: Plan) -> str:
    return "784" if plan.dataset == "mnist" else "64"


def weights_on_cpu(plan: Plan) -> list[Row]:
    """Check that the stored weights can be read on a CPU and score the same there."""
    epochs = 12 if plan.dataset == "digits" else 1
    found, weights = trained(objective_of(plan, f"train.epochs={epochs}"))
    store = Store(str(plan.folder / "checkpoints"))
    store.keep_weights("kept", 0, weights)
    kept = load_weights(store.weights("kept", 0))
    devices = {tensor.device.type for tensor in kept.values()}
    on_cpu = objective_of(plan, f"train.epochs={epochs}", "train.device=cpu")
    assert isinstance(on_cpu, TrainingObjective)
    task = on_cpu.task(RECIPE, 0, lambda: False)
    task.model.load_state_dict(kept)
    task.model.eval()
    loss = mean_scores(
        task.model,
        EvaluationBatches(task.parts.validation, 1024, task.device, torch.float32),
        {"loss": task.loss},
        contextlib.nullcontext(),
    )["loss"]
    there = found[-1].values["val_loss"]
    same = math.isclose(loss, there, rel_tol=1e-3)
    return [
        Row(
            "kept weights on the CPU",
            f"val_loss {loss:.6f}, on the device {there:.6f}",
            same and devices == {"cpu"},
        )
    ]


def compiled(plan: Plan) -> list[Row]:
    """Check that `train.compile` trains the same."""
    if plan.short:
        return [Row("train.compile", "left out in short: to compile takes minutes on a CPU", None)]
    if not _can_compile(plan):
        return [Row("train.compile", "left out: there is no compiler here", None)]
    length = ["train.steps=30", "train.eval_every=10st"]
    plain, _ = trained(objective_of(plan, *length))
    began = time.perf_counter()
    found, _ = trained(objective_of(plan, "train.compile=true", *length))
    seconds = time.perf_counter() - began
    losses = plain[-1].values["val_loss"], found[-1].values["val_loss"]
    shown = f"val_loss {losses[1]:.5f} ({losses[0]:.5f} without), {seconds:.0f} s in all"
    return [Row("train.compile", shown, math.isclose(*losses, rel_tol=0.02))]


def _can_compile(plan: Plan) -> bool:
    """Return whether torch can generate code: with a C compiler and, for a GPU, Triton."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        return False
    if plan.device != "cuda":
        return True
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    include = Path(sys.base_prefix) / "include"
    return any(include.glob("python3*/Python.h"))
