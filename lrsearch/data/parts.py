"""The training, validation and test part of a data set, as a worker opens them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrsearch.data.cache import DamagedCache, load_tensors
from lrsearch.data.nesting import NestedPart, map_tensors, unflattened
from lrsearch.data.prepare import prepare
from lrsearch.data.spec import DataInfo, DataSpec, LoaderSettings, parts_of
from lrsearch.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch.utils.data import Dataset


@dataclass(frozen=True)
class TensorPart:
    """Samples in memory: inputs `x` of shape N×…, targets `y` of shape N or N×…."""

    x: torch.Tensor
    y: torch.Tensor

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> TensorPart:
        """The part on a device; double precision becomes single where the device has no double."""
        return TensorPart(_on(self.x, device), _on(self.y, device))


def _on(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    import torch

    if device.type == "mps":  # has no double precision
        single = {torch.float64: torch.float32, torch.complex128: torch.complex64}
        tensor = tensor.to(single.get(tensor.dtype, tensor.dtype))
    return tensor.to(device)


@dataclass(frozen=True)
class StreamedPart:
    """A Dataset that is not read into memory."""

    dataset: Dataset[Any]
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    collate: Callable[[list[Any]], Any] | None = None
    """The user's function that makes a batch of a list of items; None stacks them."""
    is_pairs: bool = True
    """Whether batches are (x, y)."""

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]


Part = TensorPart | NestedPart | StreamedPart


def first_samples(part: Part, n: int | None) -> Part:
    """The first `n` samples of a part, all with None; a streamed part is left as it is."""
    match part:
        case TensorPart():
            return TensorPart(part.x[:n], part.y[:n])
        case NestedPart():
            return NestedPart(part[:n])
    return part


def on_device(part: Part, device: torch.device) -> Part:
    """A part on a device; a streamed part is left as it is."""
    match part:
        case TensorPart():
            return part.to(device)
        case NestedPart():
            return NestedPart(map_tensors(lambda tensor: _on(tensor, device), part.samples))
    return part


@dataclass(frozen=True)
class Parts:
    """The parts of a data set. `test` is used only for the confirmed winner, never in training."""

    train: Part
    validation: Part
    test: Part | None


def open_parts(spec: DataSpec, info: DataInfo) -> Parts:
    """Open the parts by mapping the cache file into memory, shared by all processes of a machine.

    A file that is damaged or missing is written again from the source. Streamed data have no file:
    the user's function is called for its Datasets. Raises UserError if the source has changed since
    `info` was made.
    """
    if info.file is None:
        from lrsearch.data.own import collate_function, datasets_of

        collate = collate_function(spec)
        streamed = [
            StreamedPart(dataset, spec.loader, collate, info.is_pairs)
            for dataset in datasets_of(spec)
        ]
        return Parts(streamed[0], streamed[1], streamed[2] if len(streamed) > 2 else None)
    try:
        tensors = load_tensors(info.file, info.fingerprint)
    except DamagedCache as error:
        tensors = _read_again(spec, info, str(error))
    parts = {name: _part(name, tensors) for name in parts_of(tensors)}
    return Parts(parts["train"], parts["validation"], parts.get("test"))


def _part(name: str, tensors: Mapping[str, torch.Tensor]) -> Part:
    """A part in memory, of tensors named by `load_own`."""
    if f"{name}_x" in tensors:
        return TensorPart(tensors[f"{name}_x"], tensors[f"{name}_y"])
    prefix = f"{name}:"
    nested = {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
    return NestedPart(unflattened(nested))


def _read_again(spec: DataSpec, info: DataInfo, why: str) -> dict[str, torch.Tensor]:
    """The tensors from the source; `why` says what is wrong with the cache file, for messages."""
    again = prepare(spec, anew=True)
    if again.file is None or again.fingerprint != info.fingerprint:
        raise UserError(
            f"{why}, and the source has changed ({again.name}, {again.fingerprint[:12]}, not "
            f"{info.fingerprint[:12]}): one study is not trained on two data sets"
        )
    try:
        return load_tensors(again.file, again.fingerprint)
    except DamagedCache as error:
        raise UserError(f"{error} though just written: check the disk") from None
