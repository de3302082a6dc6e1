"""The user's own data: a function that returns tensors or torch Datasets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import psutil

from lrsearch.data.progress import announced
from lrsearch.data.spec import PART_NAMES, DataSpec
from lrsearch.data.values import IGNORED, are_numbers, checked_tensor, kind_of, not_finite
from lrsearch.errors import UserError
from lrsearch.own_code import call_own, check_arguments, load_target
from lrsearch.seeds import derived_seed, seed_everything

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset


_LARGEST = 8 << 30
_SHARE_OF_FREE_MEMORY = 0.25
_WANTED = (
    "it must return (train, validation) or (train, validation, test), each a pair of tensors "
    "or NumPy arrays (x, y) or a torch Dataset"
)


def load_own(spec: DataSpec) -> dict[str, torch.Tensor] | None:
    """The user's data as tensors `train_x`, `train_y`, ...; None if they are to be streamed.

    Raises UserError if the function does not return data.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, part in zip(PART_NAMES, _call(spec), strict=False):
        if not isinstance(part, tuple):
            if spec.in_memory == "never" or (spec.in_memory == "auto" and not _fits(part)):
                return None
            part = stacked(part, range(len(part)), name)
        x, y = part
        tensors[f"{name}_x"], tensors[f"{name}_y"] = x, as_targets(y)
    check_alike(spec, tensors)
    return tensors


def as_targets(y: torch.Tensor) -> torch.Tensor:
    """Targets in their standard shape: classes as int64 N or N×…, numbers as N×….

    Numbers of shape N become N×1, since a loss would broadcast N against outputs of shape N×1.
    """
    if not y.is_floating_point() and not y.is_complex():
        return y.long().squeeze(1) if y.dim() == 2 and y.shape[1] == 1 else y.long()
    return y[:, None] if y.dim() == 1 else y


def check_alike(spec: DataSpec, tensors: dict[str, torch.Tensor], looked_at: str = "") -> None:
    """Check that the parts have one kind and shape of sample, and only finite numbers.

    `looked_at` is added to the number of samples in messages, if `tensors` holds only some of them.

    Raises UserError otherwise, and for negative classes.
    """
    for kind, what in (("x", "inputs"), ("y", "targets")):
        parts = {
            name.removesuffix(f"_{kind}"): tensor
            for name, tensor in tensors.items()
            if name.endswith(kind)
        }
        if len({(kind_of(tensor), tuple(tensor.shape[1:])) for tensor in parts.values()}) > 1:
            shapes = ", ".join(
                f"{part} {tensor.dtype} {tuple(tensor.shape)}" for part, tensor in parts.items()
            )
            raise UserError(f"{spec.target}: the {what} of its parts differ: {shapes}")
        for part, tensor in parts.items():
            is_classes = kind == "y" and not are_numbers(tensor)
            if is_classes and bool(((tensor < 0) & (tensor != IGNORED)).any()):
                raise UserError(
                    f"{spec.target}: its {part} part has a negative class; {IGNORED} marks targets "
                    f"that do not count"
                )
            if (bad := not_finite(tensor)) is not None:
                count, first = bad
                raise UserError(
                    f"{spec.target}: NaN or infinity among the {what} of its {part} part, in "
                    f"{count} of {len(tensor)} samples{looked_at}, the first at index {first}: "
                    f"leave these samples out, or put numbers there"
                )


def datasets_of(spec: DataSpec) -> list[Dataset[Any]]:
    """Call the user's function and return its parts as Datasets, for streaming."""
    from torch.utils.data import TensorDataset

    return [TensorDataset(*part) if isinstance(part, tuple) else part for part in _call(spec)]


def _call(spec: DataSpec) -> list[Any]:
    """Call the user's function; each part is a tuple of tensors (x, y), or a Dataset.

    Raises UserError if it returns anything else.
    """
    assert spec.target is not None, "only the user's own data have a function"
    function = load_target(spec.target, "data")
    check_arguments(function, spec.arguments, "data")
    with announced(f"reading the data by {spec.target}"):
        returned = call_own(function, spec.target, **spec.arguments)
    if not isinstance(returned, (tuple, list)) or len(returned) not in (2, 3):
        raise UserError(f"{spec.target}: {_WANTED}; it returned {type(returned).__name__}")
    parts: list[Any] = []
    for name, part in zip(PART_NAMES, returned, strict=False):
        if _is_pair(part):
            parts.append(_pair(spec, name, part))
            continue
        if not (hasattr(part, "__getitem__") and hasattr(part, "__len__")):
            raise UserError(f"{spec.target}: {_WANTED}; its {name} part is {type(part).__name__}")
        if isinstance(part, (tuple, list)):
            raise UserError(f"{spec.target}: {_WANTED}; its {name} part is not a pair of tensors")
        if len(part) == 0:
            raise UserError(f"{spec.target}: its {name} part is empty")
        parts.append(part)
    return parts


def _is_pair(part: Any) -> bool:
    """Whether a part is a pair of tensors or arrays, of kinds that are accepted or not."""
    if not isinstance(part, (tuple, list)) or len(part) != 2:
        return False
    return all(hasattr(value, "__array__") or hasattr(value, "toarray") for value in part)


def _pair(spec: DataSpec, name: str, part: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets as tensors, with an equal number of samples. Raises UserError."""
    tensors = []
    for what, value in zip(("inputs", "targets"), part, strict=True):
        try:
            tensor = checked_tensor(value)
        except UserError as error:
            raise UserError(f"{spec.target}: the {what} of its {name} part {error}") from None
        if tensor.dim() == 0:
            raise UserError(f"{spec.target}: the {what} of its {name} part are a single number")
        tensors.append(tensor)
    x, y = tensors
    if len(x) != len(y) or len(x) == 0:
        raise UserError(f"{spec.target}: its {name} part has {len(x)} inputs and {len(y)} targets")
    return x, y


def sample(dataset: Any, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The item of a Dataset at an index, as tensors. Raises UserError if it is not (x, y)."""
    return item_tensors(dataset, dataset[index])


def item_tensors(dataset: Any, item: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """An item of a Dataset as tensors. Raises UserError if it is not (x, y)."""
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise UserError(f"an item of {type(dataset).__name__} must be (x, y)")
    try:
        return checked_tensor(item[0]), checked_tensor(item[1])
    except UserError as error:
        raise UserError(
            f"an item of {type(dataset).__name__} must be two tensors, arrays or numbers; "
            f"some {error}"
        ) from None


def _fits(dataset: Any) -> bool:
    """Whether a Dataset fits into memory, by the size of its first item."""
    x, y = sample(dataset, 0)
    size = (x.nbytes + y.nbytes) * len(dataset)
    return size < min(_LARGEST, _SHARE_OF_FREE_MEMORY * psutil.virtual_memory().available)


def stacked(dataset: Any, chosen: Iterable[int], part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The items at the indices `chosen` as one batch (x, y), after seeding the generators.

    The seed depends on the name of the part alone, so a Dataset that draws from the global
    generators returns the same items in all processes. Raises UserError if their shapes differ.
    """
    import torch

    seed_everything(items_seed(part))
    chosen = list(chosen)
    items: list[tuple[torch.Tensor, torch.Tensor]] = []
    of = f"{type(dataset).__name__}, {part} part"
    with announced(f"reading {of}", lambda: f"{len(items):,} of {len(chosen):,} items"):
        for index in chosen:
            items.append(sample(dataset, index))
    try:
        return torch.stack([x for x, _ in items]), torch.stack([y for _, y in items])
    except RuntimeError as error:
        raise UserError(f"the items of {type(dataset).__name__} differ in shape: {error}") from None


def items_seed(part: str) -> int:
    """The seed of the global generators for reading items of a part before any training."""
    return derived_seed("items", part)
