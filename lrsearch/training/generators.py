"""The states of the global random generators, which models and the user's own code draw from."""

from __future__ import annotations

import random
from typing import Any

import torch

from lrsearch.seeds import seed_everything


def generator_states(device: torch.device) -> dict[str, Any]:
    """The states of the generators of Python, NumPy, torch and the device.

    Plain values and tensors, which load with `weights_only=True`.
    """
    import numpy

    own: Any = numpy.random.get_state(legacy=False)
    return {
        "python": random.getstate(),
        # An array would not load with weights_only=True.
        "numpy": {**own, "state": {**own["state"], "key": own["state"]["key"].tolist()}},
        "torch": torch.get_rng_state(),
        device.type: _device_state(device),
    }


def set_generator_states(states: dict[str, Any], device: torch.device) -> None:
    """Restore the states of `generator_states`.

    The state of the device is restored only on a device of the same kind.
    """
    import numpy

    random.setstate(states["python"])
    own = states["numpy"]
    key = numpy.array(own["state"]["key"], dtype=numpy.uint32)
    numpy.random.set_state({**own, "state": {**own["state"], "key": key}})
    torch.set_rng_state(states["torch"])
    state = states.get(device.type)
    if state is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif state is not None and device.type == "mps":
        torch.mps.set_rng_state(state)


class OwnGenerators:
    """The global generators as a piece of code of its own sees them, such as the reading of data.

    In a `with` block they go on from the seed, or from the end of the last block, and afterwards
    they are as they were before it.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed, self._device = seed, device
        self._inner: dict[str, Any] | None = None
        self._outer: dict[str, Any] = {}

    def __enter__(self) -> None:
        self._outer = generator_states(self._device)
        if self._inner is None:
            seed_everything(self._seed)
        else:
            set_generator_states(self._inner, self._device)

    def __exit__(self, *error: object) -> None:
        self._inner = generator_states(self._device)
        set_generator_states(self._outer, self._device)


def _device_state(device: torch.device) -> torch.Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None
