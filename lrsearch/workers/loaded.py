"""The studies that a worker has loaded: their settings, objectives and claims."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from lrsearch.states import RunKind
from lrsearch.study.index import Waiting
from lrsearch.workers.auxiliary_worker import AuxiliaryWorker
from lrsearch.workers.worker import Worker

MOST = 3
"""Number of studies that are kept loaded: each may hold data of the user's in memory."""


@dataclass(frozen=True)
class LoadedStudy:
    """Serves one study: its range test, if it has one, then trials, then other auxiliary runs."""

    trials: Worker
    auxiliary_runs: AuxiliaryWorker

    @property
    def device(self) -> str:
        """Name of the device that trains."""
        return self.trials.objective.device_name

    def work(self, take_over: bool) -> bool:
        """Run one trial or auxiliary run to its end; return False when there is none."""
        settings = self.trials.settings
        # Another study may have been loaded since; the number of threads changes the last bits.
        torch.set_num_threads(settings.train.threads)
        if settings.space.to_find:
            # No recipe can be suggested before the ranges are found; then the study is reloaded.
            range_test = self.auxiliary_runs.claims.claim(take_over, RunKind.RANGE_TEST)
            if range_test is not None:
                self.auxiliary_runs.run(range_test)
            return range_test is not None
        if (claim := self.trials.claims.claim(take_over)) is not None:
            self.trials.run(claim)
            return True
        if (run := self.auxiliary_runs.claims.claim(take_over)) is not None:
            self.auxiliary_runs.run(run)
            return True
        return False


class LoadedStudies:
    """The studies that were served last: MOST of them, of which one has data on a GPU."""

    def __init__(self) -> None:
        self._studies: OrderedDict[int, tuple[Waiting, LoadedStudy]] = OrderedDict()
        """By id, the one that was served last at the end."""

    def get(self, study: Waiting) -> LoadedStudy | None:
        """Return a study, if it is loaded with the settings that it has now."""
        waiting, loaded = self._studies.get(study.study_id, (None, None))
        if waiting is None or not waiting.same_as(study):
            return None
        self._studies.move_to_end(study.study_id)
        self._drop(self._others_on_gpu(study))
        return loaded

    def make_room(self, study: Waiting) -> None:
        """Unload what is in the way of loading a study."""
        oldest = list(self._studies)[: max(0, len(self._studies) - MOST + 1)]
        self._drop([study.study_id, *oldest, *self._others_on_gpu(study)])

    def add(self, study: Waiting, loaded: LoadedStudy) -> None:
        """Keep a study that was just loaded."""
        self._studies[study.study_id] = (study, loaded)
        # These objects live on: spare the garbage collector a look at them during training.
        gc.collect()
        gc.freeze()

    def _others_on_gpu(self, study: Waiting) -> list[int]:
        """Return the ids of studies whose data would take GPU memory from the trials of another."""
        return [
            study_id
            for study_id, (_, loaded) in self._studies.items()
            if study_id != study.study_id and loaded.trials.objective.keeps_device_memory
        ]

    def _drop(self, study_ids: Iterable[int]) -> None:
        dropped = [self._studies.pop(study_id, None) for study_id in study_ids]
        if any(dropped):
            dropped.clear()
            gc.unfreeze()
            gc.collect()
            gc.freeze()
