"""Result of a range test: its ramps and its cost, and the form in which a study stores it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

from lrsearch.range_test.curve import Ramp
from lrsearch.range_test.finding import Finding, Suggested, find, suggest
from lrsearch.space.space import Coupling


@dataclass(frozen=True)
class RangeTest:
    """Ramps, in the order of optimizers and batch sizes, and their cost."""

    ramps: tuple[Ramp, ...]
    trial_samples: int
    """Number of samples that one trial of the middle batch size trains on."""
    seconds: float
    """Duration of the range test."""
    coupling: Coupling
    ranges: Mapping[str, Mapping[str, Any]]
    """Ranges that a study has taken from it: `{"lr": {low, high, log}}`; empty without a study."""

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """A finding for each optimizer and batch size."""
        return tuple(find(self.ramps))

    @property
    def optimizers(self) -> tuple[str, ...]:
        """Names of the tested optimizers, each once."""
        return tuple(dict.fromkeys(ramp.optimizer for ramp in self.ramps))

    @property
    def steps(self) -> int:
        """Number of training steps of all ramps together."""
        return sum(len(ramp.rates) for ramp in self.ramps)

    @property
    def share(self) -> float:
        """Samples that were trained on, as a share of those of one trial."""
        samples = sum(len(ramp.rates) * ramp.batch_size for ramp in self.ramps)
        return samples / self.trial_samples

    def suggested(self, optimizer: str) -> Suggested | None:
        """Return the range for an optimizer; None where its loss falls at no rate."""
        return suggest(self.findings, optimizer, self.coupling)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `from_json`. A loss that is not finite becomes None."""
        ramps = [asdict(ramp) | {"losses": _finite(ramp.losses)} for ramp in self.ramps]
        return {
            "ramps": ramps,
            "trial_samples": self.trial_samples,
            "seconds": self.seconds,
            "coupling": asdict(self.coupling),
            "ranges": {name: dict(found) for name, found in self.ranges.items()},
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        ramps = tuple(
            Ramp(
                optimizer=ramp["optimizer"],
                batch_size=ramp["batch_size"],
                seed=ramp["seed"],
                rates=tuple(ramp["rates"]),
                losses=tuple(math.nan if loss is None else loss for loss in ramp["losses"]),
            )
            for ramp in plain["ramps"]
        )
        return cls(
            ramps,
            plain["trial_samples"],
            plain["seconds"],
            Coupling(**plain["coupling"]),
            plain["ranges"],
        )


def _finite(losses: Sequence[float]) -> list[float | None]:
    return [loss if math.isfinite(loss) else None for loss in losses]
