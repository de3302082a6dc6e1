"""The parts of the data as a worker has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrsearch.data.cache import DamagedCache, load_tensors
from lrsearch.data.prepare import prepare
from lrsearch.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset

    from lrsearch.data.spec import DataInfo, DataSpec


@dataclass(frozen=True)
class TensorPart:
    """Samples in memory: `x` N×…, `y` N or N×…."""

    x: torch.Tensor
    y: torch.Tensor

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> TensorPart:
        """The same on a device, in the highest precision that the device has."""
        return TensorPart(_on(self.x, device), _on(self.y, device))


def _on(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    import torch

    if device.type == "mps":  # it has no numbers of double precision
        single = {torch.float64: torch.float32, torch.complex128: torch.complex64}
        tensor = tensor.to(single.get(tensor.dtype, tensor.dtype))
    return tensor.to(device)


@dataclass(frozen=True)
class StreamedPart:
    """Samples too many for memory; an item is (x, y)."""

    dataset: Dataset[Any]

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]


Part = TensorPart | StreamedPart


@dataclass(frozen=True)
class Parts:
    """The split. No training sees `test`; it is opened for a confirmed winner alone."""

    train: Part
    validation: Part
    test: Part | None


def open_parts(spec: DataSpec, info: DataInfo) -> Parts:
    """Maps the cache file into memory: all processes of a machine share one copy.

    A file that is damaged or gone is made anew from the source. Data without a file are the user's
    Datasets, which are made again here. Raises UserError where the source has other data by now.
    """
    if info.file is None:
        from lrsearch.data.own import datasets_of

        found = [StreamedPart(dataset) for dataset in datasets_of(spec)]
        return Parts(found[0], found[1], found[2] if len(found) > 2 else None)
    try:
        tensors = load_tensors(info.file, info.fingerprint)
    except DamagedCache as error:
        tensors = _read_anew(spec, info, str(error))
    parts = {
        name: TensorPart(tensors[f"{name}_x"], tensors[f"{name}_y"])
        for name in ("train", "validation", "test")
        if f"{name}_x" in tensors
    }
    return Parts(parts["train"], parts["validation"], parts.get("test"))


def _read_anew(spec: DataSpec, info: DataInfo, why: str) -> dict[str, torch.Tensor]:
    again = prepare(spec, anew=True)
    if again.file is None or again.fingerprint != info.fingerprint:
        raise UserError(
            f"{why}, and the source has other data by now ({again.name}, "
            f"{again.fingerprint[:12]}, not {info.fingerprint[:12]}): nothing is mixed"
        )
    try:
        return load_tensors(again.file, again.fingerprint)
    except DamagedCache as error:
        raise UserError(f"{error} though just written: look after the disk") from None
