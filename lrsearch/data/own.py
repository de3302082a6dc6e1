"""The user's own data: a function that returns tensors or torch Datasets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import psutil

from lrsearch.errors import UserError
from lrsearch.targets import call_own, check_arguments, load_target

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset

    from lrsearch.data.spec import DataSpec

_NAMES = ("train", "validation", "test")
_LARGEST = 8 << 30
_SHARE_OF_FREE_MEMORY = 0.25
_WANTED = (
    "it must return (train, validation) or (train, validation, test), each a pair of tensors "
    "(x, y) or a torch Dataset"
)


def load_own(spec: DataSpec) -> dict[str, torch.Tensor] | None:
    """The user's data as tensors `train_x`, `train_y`, ...; None where they are to be streamed.

    Raises UserError for what is not data.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, part in zip(_NAMES, _call(spec), strict=False):
        if not _is_pair(part):
            if spec.in_memory == "never" or (spec.in_memory == "auto" and not _fits(part)):
                return None
            part = _materialised(part)
        x, y = (one.detach().cpu() for one in part)
        tensors[f"{name}_x"], tensors[f"{name}_y"] = x.float(), as_targets(y)
    check_alike(spec, tensors)
    return tensors


def as_targets(y: torch.Tensor) -> torch.Tensor:
    """Classes as int64, N; numbers as float32, N×…: never N, which a loss would broadcast."""
    if not y.is_floating_point():
        return y.long().squeeze(1) if y.dim() == 2 and y.shape[1] == 1 else y.long()
    return y.float()[:, None] if y.dim() == 1 else y.float()


def check_alike(spec: DataSpec, tensors: dict[str, torch.Tensor]) -> None:
    """Raises UserError where the parts do not fit together."""
    for kind, what in (("x", "inputs"), ("y", "targets")):
        parts = {name: one for name, one in tensors.items() if name.endswith(kind)}
        found = {(one.dtype, tuple(one.shape[1:])) for one in parts.values()}
        if len(found) > 1:
            shapes = ", ".join(
                f"{n[:-2]} {one.dtype} {tuple(one.shape)}" for n, one in parts.items()
            )
            raise UserError(f"{spec.target}: the {what} of its parts differ: {shapes}")
        for name, one in parts.items():
            if kind == "y" and not one.is_floating_point() and one.min() < 0:
                raise UserError(f"{spec.target}: its {name[:-2]} part has a negative class")


def datasets_of(spec: DataSpec) -> list[Dataset[Any]]:
    """The user's data as Datasets, for streaming."""
    from torch.utils.data import TensorDataset

    return [TensorDataset(*part) if _is_pair(part) else part for part in _call(spec)]


def _call(spec: DataSpec) -> list[Any]:
    assert spec.target is not None, "only the user's own data have a function"
    function = load_target(spec.target, "data")
    check_arguments(function, spec.arguments, "data")
    found = call_own(function, spec.target, **spec.arguments)
    if not isinstance(found, (tuple, list)) or len(found) not in (2, 3):
        raise UserError(f"{spec.target}: {_WANTED}; it returned {type(found).__name__}")
    for name, part in zip(_NAMES, found, strict=False):
        if _is_pair(part):
            if len(part[0]) != len(part[1]) or len(part[0]) == 0:
                raise UserError(
                    f"{spec.target}: its {name} part has {len(part[0])} inputs and "
                    f"{len(part[1])} targets"
                )
            continue
        if not (hasattr(part, "__getitem__") and hasattr(part, "__len__")):
            raise UserError(f"{spec.target}: {_WANTED}; its {name} part is {type(part).__name__}")
        if isinstance(part, (tuple, list)):
            raise UserError(f"{spec.target}: {_WANTED}; its {name} part is not a pair of tensors")
        if len(part) == 0:
            raise UserError(f"{spec.target}: its {name} part is empty")
    return list(found)


def _is_pair(part: Any) -> bool:
    import torch

    if not isinstance(part, (tuple, list)) or len(part) != 2:
        return False
    return all(isinstance(one, torch.Tensor) for one in part)


def sample(dataset: Any, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One item as tensors. Raises UserError if it is not (x, y)."""
    import torch

    item = dataset[index]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise UserError(f"an item of {type(dataset).__name__} must be (x, y)")
    try:
        return torch.as_tensor(item[0]), torch.as_tensor(item[1])
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"an item of {type(dataset).__name__} must be two tensors or numbers: {error}"
        ) from None


def _fits(dataset: Any) -> bool:
    x, y = sample(dataset, 0)
    size = (x.nbytes + y.nbytes) * len(dataset)
    return size < min(_LARGEST, _SHARE_OF_FREE_MEMORY * psutil.virtual_memory().available)


def _materialised(dataset: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return stacked(dataset, range(len(dataset)))


def stacked(dataset: Any, chosen: Iterable[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Some items as one batch (x, y). Raises UserError where their shapes differ."""
    import torch

    items = [sample(dataset, index) for index in chosen]
    try:
        return torch.stack([x for x, _ in items]), torch.stack([y for _, y in items])
    except RuntimeError as error:
        raise UserError(f"the items of {type(dataset).__name__} differ in shape: {error}") from None
