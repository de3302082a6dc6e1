"""Seeds derived from other seeds and names."""

from __future__ import annotations

import hashlib


def derived_seed(*parts: int | str) -> int:
    """A 31-bit seed computed from numbers and names, the same on every machine."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") & 0x7FFFFFFF


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch on all devices."""
    import random

    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
