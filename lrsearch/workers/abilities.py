"""What a worker has of what studies may need: labels that it was given, and memory of its GPUs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from lrsearch.config.service import problem_of_word
from lrsearch.errors import UserError
from lrsearch.settings import Settings
from lrsearch.text.hints import as_given

LABELS = "LRSEARCH_LABELS"
"""The environment variable with labels of workers, with commas between them."""
_TOLERANCE = 0.03
"""Part of a GPU's memory, as it is sold, that its driver may keep for itself."""


@dataclass(frozen=True)
class Abilities:
    """What a worker has."""

    labels: frozenset[str]
    gpu_memory: Callable[[], float | None]
    """Returns the GB (10^9 bytes) of its smallest GPU; None without a GPU."""

    @classmethod
    def of_this_process(cls, labels: Iterable[str]) -> Self:
        """Return those of this process, with labels of its environment, too. Raises UserError."""
        of_environment = [word.strip() for word in os.environ.get(LABELS, "").split(",")]
        given = {**{word: LABELS for word in of_environment if word}}
        given |= dict.fromkeys(labels, "--label")
        for word, source in given.items():
            if problem := problem_of_word(word):
                raise UserError(f"{source}: {as_given(word)} {problem}")
        return cls(frozenset(given), smallest_gpu)

    def lack(self, needs: Mapping[str, Any]) -> str | None:
        """Say what a worker lacks of a study's needs, as its row has them; None if nothing."""
        lacks = []
        if missing := sorted(set(needs.get("labels", ())) - self.labels):
            own = f"has {', '.join(sorted(self.labels))}" if self.labels else "has none"
            lacks.append(
                f"it needs the label{'s' * (len(missing) > 1)} {', '.join(missing)}, and this "
                f"worker {own} ({LABELS}, or worker --label)"
            )
        if (wanted := needs.get("gpu_memory")) is not None:
            memory = self.gpu_memory()
            if memory is None:
                lacks.append(f"it needs a GPU of {wanted:g} GB, and this worker has no GPU")
            elif memory < wanted * (1 - _TOLERANCE):
                lacks.append(f"it needs a GPU of {wanted:g} GB, and this worker's has {memory:.3g}")
        return "; ".join(lacks) or None


def check_needs(settings: Settings) -> None:
    """Raise UserError where this machine lacks what a study's workers need."""
    values = vars(settings.study.needs)
    if lack := Abilities.of_this_process(()).lack(values):
        raise UserError(f"study.needs: this machine cannot serve {settings.study.name}: {lack}")


def needs_gpu(settings: Settings) -> bool:
    """Return whether the workers of a study must have a GPU: a cluster is then asked for one."""
    return settings.train.device.startswith("cuda") or settings.study.needs.gpu_memory is not None


def passed_on() -> dict[str, str]:
    """Return the environment variable with the labels of this process, if there is one.

    The workers that a launcher starts on other machines have its labels, too.
    """
    return {LABELS: os.environ[LABELS]} if LABELS in os.environ else {}


def smallest_gpu() -> float | None:
    """Return the GB (10^9 bytes) of this process's smallest GPU; None where it has none."""
    import torch

    if not torch.cuda.is_available():
        return None
    count = torch.cuda.device_count()
    return min(torch.cuda.get_device_properties(k).total_memory for k in range(count)) / 1e9
