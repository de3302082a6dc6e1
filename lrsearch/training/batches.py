"""Batches by index, on the device; the order of an epoch is a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from lrsearch.data.own import as_targets, item_tensors
from lrsearch.data.parts import StreamedPart, TensorPart
from lrsearch.seeds import derived_seed, seed_everything
from lrsearch.training.precision import in_precision

Batch = tuple[torch.Tensor, torch.Tensor]
Part = TensorPart | StreamedPart

_LOADER_PROCESSES = 2


def order(n: int, seed: int, epoch: int) -> torch.Tensor:
    """The permutation of `n` samples in an epoch, int64, on the CPU."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    return torch.randperm(n, generator=generator)


def augmentation(seed: int, epoch: int, device: torch.device) -> torch.Generator:
    """The generator of an epoch's crops and mirror images, at the epoch's start."""
    return torch.Generator(device).manual_seed(derived_seed(seed, "augment", epoch))


def batches_per_epoch(part: Part, batch_size: int) -> int:
    """How many batches an epoch has; an incomplete last one does not count."""
    return len(part) // min(batch_size, len(part))


def training_batches(
    part: Part,
    batch_size: int,
    seed: int,
    epoch: int,
    device: torch.device,
    crop: int = 0,
    flip: bool = False,
    first: int = 0,
    generator: torch.Generator | None = None,
    precision: torch.dtype = torch.float32,
) -> Iterator[Batch]:
    """The batches of one epoch, all of one size: an incomplete last one is left out.

    Floating-point and complex numbers are brought to `precision`, the model's. `crop` pads by so
    many zeros and cuts at random; `flip` mirrors half of the images. An epoch that was left goes on
    at its batch `first`, with the `generator` of its augmentation.
    """
    indices = order(len(part), seed, epoch)
    batches = batches_per_epoch(part, batch_size)
    batch_size = min(batch_size, len(part))
    if isinstance(part, StreamedPart):
        chunks = indices[: batches * batch_size].view(batches, batch_size).tolist()
        seeded = [
            (derived_seed(seed, "items", epoch, number), chunks[number])
            for number in range(first, batches)
        ]
        source = _streamed(part.dataset, seeded, device, precision)
    else:
        numbers = range(first, batches)
        source = _gathered(part, indices.to(device), batch_size, numbers, precision)
    if not crop and not flip:
        return source
    drawn_from = generator or augmentation(seed, epoch, device)
    return ((augmented(x, drawn_from, crop, flip), y) for x, y in source)


def _gathered(
    part: TensorPart, indices: torch.Tensor, size: int, numbers: range, precision: torch.dtype
) -> Iterator[Batch]:
    x, y = part.x, part.y
    for number in numbers:
        chosen = indices[number * size : (number + 1) * size]
        yield (
            in_precision(x.index_select(0, chosen), precision),
            in_precision(y.index_select(0, chosen), precision),
        )


def evaluation_batches(
    part: Part, batch_size: int, device: torch.device, precision: torch.dtype = torch.float32
) -> Iterator[Batch]:
    """All samples in their order, in the model's precision; the last batch may be smaller."""
    if isinstance(part, StreamedPart):
        starts = range(0, len(part), batch_size)
        chunks = [
            (derived_seed("items", start), list(range(start, min(start + batch_size, len(part)))))
            for start in starts
        ]
        yield from _streamed(part.dataset, chunks, device, precision)
        return
    for start in range(0, len(part), batch_size):
        chosen = slice(start, start + batch_size)
        # Copies: a model may compute in place, and the data are read again.
        x, y = part.x[chosen].clone(), part.y[chosen].clone()
        yield in_precision(x, precision), in_precision(y, precision)


class _Seeded(Dataset[Any]):
    """A dataset whose random numbers are a function of the batch alone.

    It lives in the loader's processes. A batch is (seed, indices); so an epoch that is gone on
    with in its middle draws what the whole one would have drawn.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitems__(self, batch: tuple[int, list[int]]) -> list[Any]:
        seed, indices = batch
        seed_everything(seed)
        several = getattr(self.dataset, "__getitems__", None)
        items = [self.dataset[index] for index in indices] if several is None else several(indices)
        return [item_tensors(self.dataset, item) for item in items]


def _streamed(
    dataset: Dataset[Any],
    chunks: list[tuple[int, list[int]]],
    device: torch.device,
    precision: torch.dtype,
) -> Iterator[Batch]:
    loader: DataLoader[Any] = DataLoader(
        _Seeded(dataset),
        batch_sampler=chunks,  # type: ignore[arg-type]
        num_workers=_LOADER_PROCESSES,
        pin_memory=device.type == "cuda",
        # Not the global one: a loader draws a seed that an epoch left and resumed would draw twice.
        generator=torch.Generator(),
    )
    for x, y in loader:
        x, y = in_precision(x, precision), in_precision(as_targets(y), precision)
        yield x.to(device, non_blocking=True), y.to(device, non_blocking=True)


def augmented(x: torch.Tensor, generator: torch.Generator, crop: int, flip: bool) -> torch.Tensor:
    """Random crops (after padding by `crop`) and mirror images of a batch N×C×H×W."""
    if flip:
        mirrored = torch.rand(len(x), generator=generator, device=x.device) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    if crop:
        n, channels, height, width = x.shape
        padded = torch.nn.functional.pad(x, (crop, crop, crop, crop))
        top, left = torch.randint(
            2 * crop + 1, (2, n), generator=generator, device=x.device
        ).unbind()
        rows = top[:, None] + torch.arange(height, device=x.device)
        columns = left[:, None] + torch.arange(width, device=x.device)
        sample = torch.arange(n, device=x.device)[:, None, None, None]
        channel = torch.arange(channels, device=x.device)[None, :, None, None]
        x = padded[sample, channel, rows[:, None, :, None], columns[:, None, None, :]]
    return x
