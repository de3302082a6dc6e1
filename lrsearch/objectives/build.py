"""The choice of a study's objective."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lrsearch.data.prepare import prepare
from lrsearch.data.spec import DataInfo
from lrsearch.errors import UserError
from lrsearch.objectives import is_command
from lrsearch.objectives.base import Objective
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.objectives.command import CommandObjective
from lrsearch.objectives.function import OwnObjective
from lrsearch.objectives.parallel import ParallelObjective
from lrsearch.settings import Settings
from lrsearch.training.devices import resolve_device
from lrsearch.training.ranks import Ranks


def build_objective(
    settings: Settings,
    stored_data: Mapping[str, Any] | None,
    samples: int | None = None,
    logs: Path | None = None,
    ranks: Ranks | None = None,
    device: torch.device | None = None,
) -> Objective:
    """Build the objective of a study on this machine.

    `stored_data` are the facts about the data that the study was created with, `samples` a number
    of samples to which each part of the data is limited, `logs` the folder for what scripts print;
    without it they print here. `ranks` and `device` are those of a process that trains together
    with others.

    Raises UserError if the user's function cannot be imported, or the data on this machine are not
    those of the study.
    """
    torch.set_num_threads(settings.train.threads)
    device = device or resolve_device(settings.train.device)
    if is_command(settings.objective):
        return CommandObjective(settings, device, logs)
    if settings.objective is not None:
        return OwnObjective(settings, device)

    def build(info: DataInfo) -> Objective:
        if settings.train.gpus > 1 and ranks is None and samples is None:
            return ParallelObjective(settings, info, device, logs)
        return TrainingObjective(settings, info, device, samples, ranks)

    stored = None if stored_data is None else DataInfo.from_json(stored_data)
    if stored is not None and stored.file is not None and stored.file.exists():
        # The process that started this one has prepared the data.
        return build(stored)
    info = prepare(settings.data)
    if stored is not None and info.fingerprint != stored.fingerprint:
        advice_on_streamed = (
            "; if they are the same and your Datasets draw random numbers when they are created, "
            "or from generators of their own, seed these, or set data.fingerprint to a name of "
            "the data"
        )
        raise UserError(
            f"the data on this machine ({info.name}, {info.fingerprint[:12]}) are not those of the "
            f"study ({stored.name}, {stored.fingerprint[:12]}): one study is not trained on two "
            f"data sets{advice_on_streamed if info.file is None else ''}"
        )
    return build(info)
