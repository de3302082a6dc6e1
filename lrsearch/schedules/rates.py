"""The learning rate of a recipe at every step, computed without torch.

Views draw the rates of trainings that are over. Stepping torch's schedulers would need torch, whose
import takes seconds, and a millisecond for every hundred steps. Here each scheduler that the
catalogue builds has its closed formula, as torch's documentation states it, over an array of steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrsearch.schedules.plan import StepFunction, TorchCall

Array = NDArray[np.float64]


def rates_of(call: TorchCall, lr: float, steps: int, warmup_steps: int) -> Array | None:
    """The `steps + 1` rates of a `Schedule`: one per step, and one after the last step.

    `lr` is the peak rate. The rates of a plateau scheduler are those without any cut. None where
    the call has code of the user's own, which is not run, or a scheduler without a formula here.
    """
    formula = _FORMULAS.get(call.scheduler)
    if formula is None or not all(
        isinstance(value, StepFunction)
        for name, value in call.arguments.items()
        if name == "lr_lambda"
    ):
        return None
    main = formula(np.arange(steps - warmup_steps + 1, dtype=float), lr, call.arguments)
    warmup = main[0] * np.arange(1, warmup_steps + 1) / (warmup_steps + 1)
    return np.concatenate([warmup, main])


def _constant(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    return np.where(step < given["total_iters"], lr * given["factor"], lr)


def _step(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    return lr * float(given["gamma"]) ** (step // float(given["step_size"]))


def _multistep(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    cuts = np.searchsorted(given["milestones"], step, side="right")
    return lr * np.power(float(given["gamma"]), cuts)


def _exponential(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    return lr * float(given["gamma"]) ** step


def _cosine_to(high: float, low: float, share: Array) -> Array:
    """Half a cosine from one rate to another."""
    return low + (high - low) * (1 + np.cos(np.pi * share)) / 2


def _cosine(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    return _cosine_to(lr, given["eta_min"], step / given["T_max"])


def _cosine_restarts(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    starts, lengths = [0], [given["T_0"]]
    while starts[-1] + lengths[-1] <= step[-1]:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * given["T_mult"])
    cycle = np.searchsorted(starts, step, side="right") - 1
    share = (step - np.array(starts)[cycle]) / np.array(lengths, float)[cycle]
    return _cosine_to(lr, given["eta_min"], share)


def _linear(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    first, last = float(given["start_factor"]), float(given["end_factor"])
    share = np.minimum(step / float(given["total_iters"]), 1.0)
    return lr * (first + (last - first) * share)


def _polynomial(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    share = np.minimum(step / float(given["total_iters"]), 1.0)
    return lr * (1 - share) ** float(given["power"])


def _plateau(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    return np.full(len(step), lr)


def _lambda(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    return lr * _factors(given["lr_lambda"], len(step))


@functools.lru_cache(maxsize=64)
def _factors(factor: StepFunction, steps: int) -> Array:
    """The values of a formula at so many steps; views draw the same trials again and again."""
    return np.array([factor(at) for at in range(steps)], float)


def _multiplicative(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    return lr * np.cumprod([1.0, *_factors(given["lr_lambda"], len(step))[1:]])


def _cyclic(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    low, high, up = given["base_lr"], given["max_lr"], given["step_size_up"]
    period = up + given["step_size_down"]
    # In this order of operations, because the end of a cycle is found by rounding down.
    cycle = np.floor(1 + step / period)
    at = 1 + step / period - cycle
    top = up / period
    height = np.where(at <= top, at / top, (at - 1) / (top - 1))
    scale: Any = 1.0
    if given["mode"] == "triangular2":
        scale = 0.5 ** (cycle - 1)
    elif given["mode"] == "exp_range":
        scale = given["gamma"] ** step
    rates: Array = low + (high - low) * height * scale
    return rates


def _one_cycle(step: Array, lr: float, given: Mapping[str, Any]) -> Array:
    high, total = given["max_lr"], given["total_steps"]
    first = high / given["div_factor"]
    last = first / given["final_div_factor"]
    peak = given["pct_start"] * total - 1
    rising, falling = step / peak, (step - peak) / (total - 1 - peak)
    is_linear = given["anneal_strategy"] == "linear"

    def between(start: float, end: float, share: Array) -> Array:
        return start + (end - start) * share if is_linear else _cosine_to(start, end, share)

    return np.where(step <= peak, between(first, high, rising), between(high, last, falling))


Formula = Callable[[Array, float, Mapping[str, Any]], Array]
_FORMULAS: dict[str, Formula] = {
    "ConstantLR": _constant,
    "StepLR": _step,
    "MultiStepLR": _multistep,
    "ExponentialLR": _exponential,
    "CosineAnnealingLR": _cosine,
    "CosineAnnealingWarmRestarts": _cosine_restarts,
    "LinearLR": _linear,
    "PolynomialLR": _polynomial,
    "ReduceLROnPlateau": _plateau,
    "LambdaLR": _lambda,
    "MultiplicativeLR": _multiplicative,
    "CyclicLR": _cyclic,
    "OneCycleLR": _one_cycle,
}
"""The rates at an array of steps after the warm-up, from the peak rate and torch's arguments."""
