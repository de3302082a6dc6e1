"""What scripts of tests report to."""

from __future__ import annotations

import math
import threading

from lrsearch.errors import TrialPruned
from lrsearch.evaluation import Evaluation


class Taken:
    """Takes reports; prunes the trial at the report number `prune_at`."""

    number: int | None = 3

    def __init__(self, prune_at: int = 1000, earlier: int = 0) -> None:
        self.evaluations: list[Evaluation] = []
        self.warnings: list[str] = []
        self.prune_at, self.earlier = prune_at, earlier
        self.arrived = threading.Event()

    def __call__(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)
        self.arrived.set()
        if len(self.evaluations) >= self.prune_at:
            raise TrialPruned

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self) -> None:
        pass

    def restore(self, history: object) -> None:
        raise AssertionError("for lrsearch's own training")

    def rewind(self, epoch: float, step: float = math.inf) -> int:
        return self.earlier + 1

    @property
    def reported(self) -> list[tuple[float, dict[str, float]]]:
        """Epoch and values of each evaluation."""
        return [(one.epoch, dict(one.values)) for one in self.evaluations]
