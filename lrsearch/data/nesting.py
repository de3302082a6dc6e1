"""Nested batches: tensors in mappings, sequences, named tuples and dataclasses, at any depth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrsearch.errors import UserError

if TYPE_CHECKING:
    import torch


def map_tensors(
    function: Callable[[torch.Tensor], Any],
    value: Any,
    other: Callable[[Any], Any] = lambda leaf: leaf,
) -> Any:
    """A copy of a nested value, with `function` applied to its tensors and `other` to the rest.

    Mappings such as transformers' BatchEncoding, sequences, named tuples and dataclasses keep their
    types. A list of texts or numbers counts as one value. The function is copied unchanged into
    exported scripts.
    """
    import copy
    import dataclasses
    from collections.abc import Mapping, MutableMapping

    import torch

    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, Mapping):
        items = {key: map_tensors(function, item, other) for key, item in value.items()}
        if type(value) is dict or not isinstance(value, MutableMapping):
            return items
        mapping = copy.copy(value)
        mapping.update(items)
        return mapping
    plain = (str, bytes, int, float, type(None))
    if isinstance(value, list) and all(isinstance(item, plain) for item in value):
        return other(value)  # a column of texts, for instance
    if isinstance(value, (list, tuple)) and not hasattr(value, "to"):  # unlike PackedSequence
        mapped = [map_tensors(function, item, other) for item in value]
        return type(value)(*mapped) if hasattr(value, "_fields") else type(value)(mapped)
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and not hasattr(value, "to"):
        changed = copy.copy(value)
        for field in dataclasses.fields(value):
            item = map_tensors(function, getattr(value, field.name), other)
            object.__setattr__(changed, field.name, item)
        return changed
    return other(value)


def tensors_of(value: Any) -> list[torch.Tensor]:
    """The tensors of a nested value, in order."""
    tensors: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        tensors.append(tensor)
        return tensor

    map_tensors(keep, value)
    return tensors


def samples_in(batch: Any) -> int:
    """The number of samples of a batch: the length of its first tensor that is not a single number.

    An object without such a tensor, such as a graph, counts as one sample. The function is copied
    unchanged into exported scripts.
    """
    return next((len(tensor) for tensor in tensors_of(batch) if tensor.dim()), 1)


def pieces(batch: Any, n: int, count: int) -> Iterator[tuple[Any, int]]:
    """Divide a batch of `n` samples into `count` pieces; each comes with its number of samples.

    Their sizes differ by at most one, because batch normalisation cannot train on a remainder of
    one sample. Tensors (as views) and lists with one entry for each sample are divided; everything
    else is in every piece. The function is copied unchanged into exported scripts.
    """
    size, larger = divmod(n, count)
    start = 0
    for number in range(count):
        end = start + size + (number < larger)

        def cut(values: Any, start: int = start, end: int = end) -> Any:
            is_column = isinstance(values, list) or getattr(values, "ndim", 0) > 0
            return values[start:end] if is_column and len(values) == n else values

        yield map_tensors(cut, batch, cut), end - start
        start = end


@dataclass(frozen=True)
class NestedPart:
    """Samples in memory as nested tensors, whose first axes have one length: the samples."""

    samples: Any

    def __len__(self) -> int:
        return len(tensors_of(self.samples)[0])

    def __getitem__(self, chosen: Any) -> Any:
        """The samples at an index, in a slice, or at a tensor of indices; a slice is a view."""
        return map_tensors(lambda tensor: tensor[chosen], self.samples)


# Values that are to be tensors


def is_nesting(value: Any) -> bool:
    """Whether a value holds others: a mapping, a tuple, or a list of more than numbers.

    The function is copied unchanged into exported scripts.
    """
    from collections.abc import Mapping

    if isinstance(value, list):
        return any(isinstance(item, (Mapping, tuple)) or hasattr(item, "shape") for item in value)
    return isinstance(value, (Mapping, tuple))


def as_nested(value: Any, convert: Callable[[Any], torch.Tensor]) -> Any:
    """Nested arrays or numbers as tensors, by `convert`, in dicts and tuples.

    The function is copied unchanged into exported scripts. Raises UserError for keys that are no
    text.
    """
    from collections.abc import Mapping

    if not is_nesting(value):
        return convert(value)
    if not isinstance(value, Mapping):
        return tuple(as_nested(item, convert) for item in value)
    if not all(isinstance(key, str) for key in value):
        raise UserError("are in a dict whose keys are no texts")
    return {key: as_nested(item, convert) for key, item in value.items()}


def stackable(item: Any) -> Any:
    """An item in which lists of numbers are tensors, so that torch stacks them in a batch.

    The function is copied unchanged into exported scripts.
    """
    import torch

    def convert(value: Any) -> Any:
        is_numbers = isinstance(value, list) and all(isinstance(one, (int, float)) for one in value)
        return torch.tensor(value) if is_numbers and value else value

    return map_tensors(lambda tensor: tensor, item, convert)


# Nested tensors as a flat dictionary, for the cache


def flattened(samples: Any) -> dict[str, torch.Tensor]:
    """The tensors of nested dicts and tuples by their paths: `["input_ids"]`, `[0, "mask"]`."""
    tensors: dict[str, torch.Tensor] = {}

    def walk(value: Any, path: list[Any]) -> None:
        if isinstance(value, (dict, tuple)):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                walk(item, [*path, key])
        else:
            tensors[json.dumps(path)] = value

    walk(samples, [])
    return tensors


def unflattened(tensors: Mapping[str, torch.Tensor]) -> Any:
    """The nested tensors of which `flattened` has made a dictionary."""
    if [*tensors] == ["[]"]:
        return tensors["[]"]
    branches: dict[Any, dict[str, torch.Tensor]] = {}
    for path, tensor in tensors.items():
        key, *rest = json.loads(path)
        branches.setdefault(key, {})[json.dumps(rest)] = tensor
    nested = {key: unflattened(branch) for key, branch in branches.items()}
    is_tuple = all(isinstance(key, int) for key in nested)
    return tuple(nested[key] for key in sorted(nested)) if is_tuple else nested
