"""A whole range test: its ramps, what it took, and how a study keeps it."""

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
    """The ramps, in the order of optimizers and batch sizes, and what they took."""

    ramps: tuple[Ramp, ...]
    trial_samples: int
    """What one trial of the middle batch size trains on."""
    seconds: float
    coupling: Coupling
    ranges: Mapping[str, Mapping[str, Any]]
    """What a study has taken from it: `{"lr": {low, high, log}}`; empty outside of a study."""

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """For each optimizer and batch size."""
        return tuple(find(self.ramps))

    @property
    def optimizers(self) -> tuple[str, ...]:
        """Those that were tested, each once."""
        return tuple(dict.fromkeys(ramp.optimizer for ramp in self.ramps))

    @property
    def steps(self) -> int:
        """Steps that were trained, together."""
        return sum(len(ramp.rates) for ramp in self.ramps)

    @property
    def share(self) -> float:
        """What was trained on, as a share of one trial."""
        samples = sum(len(ramp.rates) * ramp.batch_size for ramp in self.ramps)
        return samples / self.trial_samples

    def suggested(self, optimizer: str) -> Suggested | None:
        """The range for an optimizer; None where its loss falls at no rate."""
        return suggest(self.findings, optimizer, self.coupling)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back. A loss that is not finite is None."""
        ramps = [asdict(ramp) | {"losses": _finite(ramp.losses)} for ramp in self.ramps]
        return {
            "ramps": ramps,
            "trial_samples": self.trial_samples,
            "seconds": self.seconds,
            "coupling": asdict(self.coupling),
            "ranges": {name: dict(one) for name, one in self.ranges.items()},
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
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
