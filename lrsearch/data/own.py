"""The user's own data: a function that returns tensors or torch Datasets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from lrsearch.data.nesting import (
    NestedPart,
    as_nested,
    flattened,
    is_nesting,
    stackable,
    tensors_of,
)
from lrsearch.data.progress import announced
from lrsearch.data.spec import PART_NAMES, DataSpec, parts_of
from lrsearch.data.values import IGNORED, are_numbers, checked_tensor, kind_of, not_finite
from lrsearch.errors import UserError
from lrsearch.own_code import call_own, check_arguments, load_target, own_callable
from lrsearch.seeds import derived_seed, seed_everything

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset


_LARGEST = 8 << 30
_SHARE_OF_FREE_MEMORY = 0.25
_WANTED = (
    "it must return (train, validation) or (train, validation, test), each a pair of tensors "
    "or NumPy arrays (x, y), a dict or tuple of them, or a torch Dataset"
)


def load_own(spec: DataSpec) -> dict[str, torch.Tensor] | None:
    """The user's data as tensors `train_x`, `train_y`, ...; None if they are to be streamed.

    Nested tensors are called `train:` and so on with their path, see `flattened`. Raises UserError
    if the function does not return data.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, part in zip(PART_NAMES, _call(spec), strict=False):
        if not isinstance(part, (tuple, NestedPart)):
            if not _is_read(spec, part):
                return None
            batch = sampled(spec, part, range(len(part)), name)
            part = tuple(batch) if is_pair(batch) else NestedPart(as_nested(batch, checked_tensor))
        if isinstance(part, NestedPart):
            nested = flattened(part.samples)
            tensors |= {f"{name}:{path}": tensor for path, tensor in nested.items()}
        else:
            x, y = part
            tensors[f"{name}_x"], tensors[f"{name}_y"] = x, as_targets(y)
    check_kinds(spec, {name: f"{name}_x" in tensors for name in parts_of(tensors)})
    if "train_x" in tensors:
        check_alike(spec, tensors)
    return tensors


def check_kinds(spec: DataSpec, is_pairs: Mapping[str, bool]) -> None:
    """Raise UserError if some parts consist of pairs (x, y) and others do not."""
    if len(set(is_pairs.values())) > 1:
        pairs = ", ".join(part for part, pairs in is_pairs.items() if pairs)
        others = ", ".join(part for part, pairs in is_pairs.items() if not pairs)
        raise UserError(
            f"{spec.target}: the samples of its {pairs} part are pairs (x, y), and those of its "
            f"{others} part are not: return samples of one kind"
        )


def _is_read(spec: DataSpec, dataset: Any) -> bool:
    """Whether a Dataset is read into memory.

    Raises UserError if that was asked for and cannot be done.
    """
    if spec.in_memory == "never" or spec.loader.collate_fn is not None:
        return False
    why = None
    if is_stream(dataset):
        why = "an IterableDataset has no indices"
    elif not is_pair(item := first_item(dataset)) and not _can_be_cached(item):
        why = "the cache keeps tensors in dicts and tuples alone"
    if why is not None and spec.in_memory == "always":
        raise UserError(f"data.in_memory: {type(dataset).__name__} can only be streamed: {why}")
    return why is None and (spec.in_memory == "always" or _fits(dataset))


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


def is_stream(dataset: Any) -> bool:
    """Whether a Dataset is a torch IterableDataset, whose samples have no indices."""
    from torch.utils.data import IterableDataset

    return isinstance(dataset, IterableDataset)


def length_of(dataset: Any) -> int | None:
    """Number of samples of a Dataset; None for an IterableDataset that does not tell."""
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):
        if is_stream(dataset):
            return None
        raise


def _call(spec: DataSpec) -> list[Any]:
    """Call the user's function; each part is a tuple of tensors (x, y), a NestedPart or a Dataset.

    Raises UserError if it returns anything else.
    """
    assert spec.target is not None, "only the user's own data have a function"
    function = load_target(spec.target, "data")
    check_arguments(function, spec.arguments, "data")
    with announced(f"reading the data by {spec.target}"):
        returned = call_own(function, spec.target, **spec.arguments)
    if not isinstance(returned, (tuple, list)) or len(returned) not in (2, 3):
        raise UserError(f"{spec.target}: {_WANTED}; it returned {type(returned).__name__}")
    return [_part(spec, name, part) for name, part in zip(PART_NAMES, returned, strict=False)]


def _part(spec: DataSpec, name: str, part: Any) -> Any:
    """A part of the data as `_call` returns it. Raises UserError."""
    from torch.utils.data import DataLoader

    kind = type(part).__name__
    if _is_pair_of_arrays(part):
        return _pair(spec, name, part)
    if isinstance(part, DataLoader):
        raise UserError(
            f"{spec.target}: its {name} part is a {kind}: return its dataset, since the batch size "
            f"is searched; its collate_fn and num_workers go to data.loader"
        )
    if isinstance(part, Mapping) or type(part) is tuple:
        return _nested(spec, name, part)
    if is_stream(part):
        return part
    is_array = hasattr(part, "__array__")
    if is_array or not (hasattr(part, "__getitem__") and hasattr(part, "__len__")):
        raise UserError(f"{spec.target}: {_WANTED}; its {name} part is {kind}")
    if isinstance(part, (tuple, list)):
        raise UserError(f"{spec.target}: {_WANTED}; its {name} part is not a pair of tensors")
    if len(part) == 0:
        raise UserError(f"{spec.target}: its {name} part is empty")
    return part


def _nested(spec: DataSpec, name: str, part: Any) -> NestedPart:
    """A dict or tuple of arrays as a part. Raises UserError if their numbers of samples differ."""
    try:
        samples = as_nested(part, checked_tensor)
    except UserError as error:
        raise UserError(f"{spec.target}: in its {name} part {error}") from None
    sizes = {path: tuple(tensor.shape) for path, tensor in flattened(samples).items()}
    if len({shape[:1] for shape in sizes.values()}) != 1 or () in sizes.values():
        shapes = ", ".join(f"{path} {shape}" for path, shape in sizes.items()) or "no tensors"
        raise UserError(
            f"{spec.target}: the tensors of its {name} part must have one length, the number of "
            f"samples: {shapes}"
        )
    if 0 in {shape[0] for shape in sizes.values()}:
        raise UserError(f"{spec.target}: its {name} part is empty")
    return NestedPart(samples)


def _is_pair_of_arrays(part: Any) -> bool:
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


def is_pair(item: Any) -> bool:
    """Whether an item or a batch is (x, y), neither of them nested."""
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        return False
    return not any(map(is_nesting, item))


def _can_be_cached(item: Any) -> bool:
    """Whether an item is numbers and arrays in dicts and tuples, so that the cache can keep it."""
    if type(item) is dict:
        return all(isinstance(key, str) and _can_be_cached(item[key]) for key in item)
    if type(item) is tuple:
        return all(map(_can_be_cached, item))
    try:
        checked_tensor(item)
    except UserError:
        return False
    return not is_nesting(item)


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


def first_item(dataset: Any) -> Any:
    """The first item of a Dataset, of whatever kind. Raises UserError if there is none."""
    for item in dataset if is_stream(dataset) else [dataset[0]]:
        return item
    raise UserError(f"{type(dataset).__name__} is empty")


def _fits(dataset: Any) -> bool:
    """Whether a Dataset fits into memory, by the size of its first item."""
    item = first_item(dataset)
    tensors = (
        item_tensors(dataset, item)
        if is_pair(item)
        else tensors_of(as_nested(item, checked_tensor))
    )
    size = sum(tensor.nbytes for tensor in tensors) * len(dataset)
    return size < min(_LARGEST, _SHARE_OF_FREE_MEMORY * psutil.virtual_memory().available)


@dataclass(frozen=True)
class Collate:
    """Makes a batch of a list of items."""

    dataset: Any
    """The Dataset of the items."""
    function: Callable[[list[Any]], Any] | None = None
    """The user's function; None stacks the items as torch's DataLoader does."""

    def __call__(self, items: list[Any]) -> Any:
        """Make the batch. Raises UserError if the items have different shapes."""
        from torch.utils.data import default_collate

        if self.function is not None:
            return self.function(items)
        if is_pair(items[0]):
            items = [item_tensors(self.dataset, item) for item in items]
        else:
            items = [stackable(item) for item in items]
        try:
            return default_collate(items)
        except RuntimeError as error:
            raise UserError(
                f"the items of {type(self.dataset).__name__} differ in shape: {error}; "
                f"data.loader.collate_fn names a function that makes a batch of such items"
            ) from None
        except TypeError as error:
            raise UserError(
                f"the items of {type(self.dataset).__name__} make no batch: {error}; "
                f"data.loader.collate_fn names a function that makes a batch of such items"
            ) from None


def collate_function(spec: DataSpec) -> Callable[[list[Any]], Any] | None:
    """The user's `data.loader.collate_fn`; None without one.

    Raises UserError if it cannot be imported or does not take its arguments.
    """
    collate = spec.loader.collate_fn
    if collate is None or collate.target is None:
        return None
    function: Callable[[list[Any]], Any] = own_callable(
        collate.target, collate.arguments, "data.loader.collate_fn", positional=1
    )
    return function


def sampled(spec: DataSpec, dataset: Any, chosen: Sequence[int], part: str) -> Any:
    """The items at the indices `chosen` as one batch, after seeding the generators.

    Of an IterableDataset they are as many of its first items. The seed depends on the name of the
    part alone, so a Dataset that draws from the global generators returns the same items in all
    processes. Raises UserError if their shapes differ.
    """
    seed_everything(items_seed(part))
    items: list[Any] = []
    of = f"{type(dataset).__name__}, {part} part"
    with announced(f"reading {of}", lambda: f"{len(items):,} of {len(chosen):,} items"):
        if is_stream(dataset):
            set_epoch(dataset, 0)
            items.extend(itertools.islice(dataset, len(chosen)))
        else:
            items.extend(dataset[index] for index in chosen)
    if not items:
        raise UserError(f"{spec.target}: its {part} part is empty")
    collate = Collate(dataset, collate_function(spec))
    if collate.function is None:
        return collate(items)
    return call_own(collate, "data.loader.collate_fn", items)


def set_epoch(dataset: Any, epoch: int) -> None:
    """Tell a Dataset which pass over its samples comes next, where it has torch's `set_epoch`."""
    if callable(getattr(dataset, "set_epoch", None)):
        dataset.set_epoch(epoch)


def items_seed(part: str) -> int:
    """The seed of the global generators for reading items of a part before any training."""
    return derived_seed("items", part)
