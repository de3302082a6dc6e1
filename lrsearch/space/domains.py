"""Domains: the sets of values that one parameter is searched over."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lrsearch.space.names import ParameterName
from lrsearch.text.hints import as_given

AUTO = "auto"
"""Value of a learning rate whose range a range test is to find."""
STAND_IN = 0.1
"""The learning rate in previews while its range is not known."""


class Suggester(Protocol):
    """The methods of an Optuna trial that domains use."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


class Domain(Protocol):
    """A set of values: something to suggest from, to sample, to enumerate and to check."""

    def suggest(self, trial: Suggester, name: str) -> Any:
        """A value chosen by the trial's sampler."""

    def stored(self, name: str, value: Any) -> dict[str, Any]:
        """Return the entry of a trial's parameters that stands for `value`."""

    def sample(self, rng: random.Random) -> Any:
        """A uniformly random value."""

    def middle(self) -> Any:
        """The value in the middle of the range; the first of a list."""

    def grid(self) -> list[Any]:
        """Return the values of a grid search. Raises ValueError where their number is not given."""

    def problem(self, value: Any) -> str | None:
        """Why `value` is not in the set; None when it is."""

    def ends(self) -> list[Any]:
        """The extreme values: if they are valid, all values are."""


@dataclass(frozen=True)
class FloatRange:
    """Numbers from `low` to `high`, evenly or on a log scale; `points` many of them on a grid."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    points: int | None = None

    def suggest(self, trial: Suggester, name: str) -> float:
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def stored(self, name: str, value: Any) -> dict[str, Any]:
        return {name: float(value)}

    def sample(self, rng: random.Random) -> float:
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return min(max(value, self.low), self.high)
        if self.step is None:
            return rng.uniform(self.low, self.high)
        return self.low + self.step * rng.randint(0, self._steps)

    def middle(self) -> float:
        if self.step is not None:
            return self.low + self.step * (self._steps // 2)
        return math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2

    @property
    def _steps(self) -> int:
        return 0 if self.step is None else int((self.high - self.low) / self.step + 1e-9)

    def grid(self) -> list[float]:
        if self.step is not None:
            return [self.low + self.step * k for k in range(self._steps + 1)]
        if self.points is None:
            raise ValueError("a grid needs to know how many: add `points: 5`, or give `choices`")
        if self.points == 1 or self.low == self.high:
            return [self.middle()]
        shares = [k / (self.points - 1) for k in range(self.points)]
        if self.log:
            ratio = self.high / self.low
            inner = [self.low * ratio**share for share in shares[1:-1]]
        else:
            inner = [self.low + (self.high - self.low) * share for share in shares[1:-1]]
        return [self.low, *inner, self.high]

    def problem(self, value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{as_given(value)} is not a number"
        if not self.low <= value <= self.high:
            return f"{value!r} is outside {self.low:g} to {self.high:g}"
        return None

    def ends(self) -> list[Any]:
        return [self.low, self.high]


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from `low` to `high`, in steps or on a log scale."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    def suggest(self, trial: Suggester, name: str) -> int:
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)

    def stored(self, name: str, value: Any) -> dict[str, Any]:
        return {name: int(value)}

    def sample(self, rng: random.Random) -> int:
        if self.log:
            exponent = rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5))
            return min(max(round(math.exp(exponent)), self.low), self.high)
        return rng.choice(range(self.low, self.high + 1, self.step))

    def middle(self) -> int:
        if self.log:
            return round(math.sqrt(self.low * self.high))
        return self.low + self.step * ((self.high - self.low) // self.step // 2)

    def grid(self) -> list[int]:
        return list(range(self.low, self.high + 1, self.step))

    def problem(self, value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{as_given(value)} is not a whole number"
        if not self.low <= value <= self.high or (value - self.low) % self.step:
            steps = f" in steps of {self.step}" if self.step != 1 else ""
            return f"{value!r} is outside {self.low} to {self.high}{steps}"
        return None

    def ends(self) -> list[Any]:
        return [self.low, self.high]


@dataclass(frozen=True)
class PowersOfTwo:
    """Powers of two from `low` to `high`, stored by exponent as `log2_NAME`.

    An integer range can later be extended in Optuna, a categorical cannot.
    """

    low: int
    high: int

    def _stored_name(self, name: str) -> str:
        return str(ParameterName.parse(name).as_log2())

    def _exponents(self) -> tuple[int, int]:
        return self.low.bit_length() - 1, self.high.bit_length() - 1

    def suggest(self, trial: Suggester, name: str) -> int:
        return 1 << trial.suggest_int(self._stored_name(name), *self._exponents())

    def stored(self, name: str, value: Any) -> dict[str, Any]:
        return {self._stored_name(name): int(value).bit_length() - 1}

    def sample(self, rng: random.Random) -> int:
        return rng.choice(self.grid())

    def middle(self) -> int:
        return 1 << sum(self._exponents()) // 2

    def grid(self) -> list[int]:
        first, last = self._exponents()
        return [1 << exponent for exponent in range(first, last + 1)]

    def problem(self, value: Any) -> str | None:
        if isinstance(value, bool) or value not in self.grid():
            return f"{as_given(value)} is not one of {', '.join(map(str, self.grid()))}"
        return None

    def ends(self) -> list[Any]:
        return [self.low, self.high]


@dataclass(frozen=True)
class Choices:
    """One value of a list; lists, which Optuna cannot store, are stored as JSON text."""

    values: tuple[Any, ...]

    def _label(self, value: Any) -> Any:
        return json.dumps(value) if isinstance(value, (list, tuple)) else value

    def suggest(self, trial: Suggester, name: str) -> Any:
        labels = [self._label(value) for value in self.values]
        return self.values[labels.index(trial.suggest_categorical(name, labels))]

    def stored(self, name: str, value: Any) -> dict[str, Any]:
        return {name: self._label(value)}

    def sample(self, rng: random.Random) -> Any:
        return rng.choice(self.values)

    def middle(self) -> Any:
        return self.values[0]

    def grid(self) -> list[Any]:
        return list(self.values)

    def problem(self, value: Any) -> str | None:
        if value in self.values:
            return None
        return f"{as_given(value)} is not one of {', '.join(map(str, self.values))}"

    def ends(self) -> list[Any]:
        return list(self.values)


@dataclass(frozen=True)
class Fixed:
    """One value; nothing is suggested or stored for it."""

    value: Any

    def suggest(self, trial: Suggester, name: str) -> Any:
        return self.value

    def stored(self, name: str, value: Any) -> dict[str, Any]:
        return {}

    def sample(self, rng: random.Random) -> Any:
        return self.value

    def middle(self) -> Any:
        return self.value

    def grid(self) -> list[Any]:
        return [self.value]

    def problem(self, value: Any) -> str | None:
        if value == self.value:
            return None
        return f"{as_given(value)} is not {as_given(self.value)}, the value it is fixed to"

    def ends(self) -> list[Any]:
        return [self.value]


@dataclass(frozen=True)
class Auto:
    """A learning rate whose range a range test will find before any trial."""

    def suggest(self, trial: Suggester, name: str) -> float:
        raise RuntimeError(f"the range of {name} has not been found yet")

    def stored(self, name: str, value: Any) -> dict[str, Any]:
        return {name: float(value)}

    def sample(self, rng: random.Random) -> float:
        return STAND_IN

    def middle(self) -> float:
        return STAND_IN

    def grid(self) -> list[Any]:
        raise ValueError("`auto` is found after the grid is laid: give a range, or `choices`")

    def problem(self, value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            return f"{as_given(value)} is not a number above 0"
        return None

    def ends(self) -> list[Any]:
        return [STAND_IN]
