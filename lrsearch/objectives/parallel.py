"""lrsearch's own training on several GPUs: one process for each, below a worker."""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from lrsearch.checkpoints.store import Checkpoints
from lrsearch.data.spec import DataInfo
from lrsearch.objectives import COMMAND
from lrsearch.objectives.base import Report
from lrsearch.objectives.builtin import TrainingObjective, parts_on_device
from lrsearch.objectives.command import CommandObjective, Program
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.settings import Settings
from lrsearch.states import Outcome
from lrsearch.training.devices import device_label
from lrsearch.training.loop import Task
from lrsearch.training.micro_batch import MicroBatch

RANK_MODULE = "lrsearch.workers.rank"
"""The program of each process. It is started, not imported, because it reads a configuration."""

STARTUP = 120.0
"""Seconds that the processes have to import torch and to meet."""


class ParallelObjective(TrainingObjective):
    """lrsearch's own training, in as many processes as a trial takes GPUs.

    torchrun starts them as it starts a script of the user's. This process keeps the data on the
    CPU, and itself only tests weights and runs ramps of the learning rate.
    """

    def __init__(
        self,
        settings: Settings,
        info: DataInfo,
        device: torch.device,
        logs: Path | None = None,
    ) -> None:
        """`logs` is the folder for what the processes print; None prints it here."""
        super().__init__(settings, info, device, data_device=torch.device("cpu"))
        self._count = count = int(settings.train.gpus)
        self.device_name = f"{count} × {device_label(device)}"
        self._folder = tempfile.TemporaryDirectory(prefix="lrsearch-ranks-")
        study = Path(self._folder.name) / "study.json"
        study.write_text(json.dumps({"config": dict(settings.plain), "data": info.to_json()}))
        words: list[str] = [
            *("python", "-m", "torch.distributed.run", "--standalone"),
            *(f"--nproc-per-node={count}", "-m", RANK_MODULE, str(study)),
        ]
        script = ComponentConfig(COMMAND, {"command": [_literal(word) for word in words]})
        self._script = CommandObjective(
            dataclasses.replace(settings, objective=script),
            device,
            logs,
            # A process says why it fails, unless it was killed.
            Program("the training", failure=Outcome.CRASHED, startup=STARTUP),
        )

    def run(
        self,
        recipe: Recipe,
        seed: int,
        report: Report,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> Mapping[str, torch.Tensor] | None:
        return self._script.run(recipe, seed, report, should_stop, checkpoints)

    def task(
        self, recipe: Recipe, seed: int, should_stop: Callable[[], bool], fold: int = 0
    ) -> Task:
        """The task for this process alone, in pieces of the size that each of the others takes."""
        task = super().task(recipe, seed, should_stop, fold)
        share = math.ceil(recipe.batch_size / self._count)
        given = self.settings.train.micro_batch
        task.micro_batch = MicroBatch(min(share, given) if isinstance(given, int) else share)
        task.parts = parts_on_device(task.parts, self.device)
        return task


def _literal(word: str) -> str:
    """A word of a command in which braces are no placeholders."""
    return word.replace("{", "{{").replace("}", "}}")
