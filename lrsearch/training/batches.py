"""Batches on the device; the order of an epoch is a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from lrsearch.data.own import as_targets, item_tensors
from lrsearch.data.parts import Part, StreamedPart, TensorPart
from lrsearch.seeds import derived_seed, seed_everything
from lrsearch.training.precision import in_precision

Batch = tuple[torch.Tensor, torch.Tensor]

_LOADER_PROCESSES = 2


def order(n: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of `n` samples in an epoch: a permutation, int64, on the CPU."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    return torch.randperm(n, generator=generator)


def augmentation(seed: int, epoch: int, device: torch.device) -> torch.Generator:
    """The generator for an epoch's random crops and flips, at the start of the epoch."""
    return torch.Generator(device).manual_seed(derived_seed(seed, "augment", epoch))


def batches_per_epoch(part: Part, batch_size: int) -> int:
    """Number of batches of an epoch, without the incomplete last one."""
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
    """The batches of one epoch, all of one size; the incomplete last one is dropped.

    Floating-point and complex numbers are converted to `precision`, the model's. `crop` is the
    number of zero pixels padded on each side before a random crop; `flip` mirrors half of the
    images. A resumed epoch continues at its batch `first`, with the `generator` of its
    augmentation.
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
    draws = generator or augmentation(seed, epoch, device)
    return ((augmented(x, draws, crop, flip), y) for x, y in source)


def _gathered(
    part: TensorPart, indices: torch.Tensor, size: int, numbers: range, precision: torch.dtype
) -> Iterator[Batch]:
    """The batches with these numbers of a part in memory."""
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
    """All samples in their order, in batches; the last one may be smaller.

    Floating-point and complex numbers are converted to `precision`, the model's.
    """
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
        # Copied, since a model may change its inputs in place and the samples are used again.
        x, y = part.x[chosen].clone(), part.y[chosen].clone()
        yield in_precision(x, precision), in_precision(y, precision)


class _Seeded(Dataset[Any]):
    """A Dataset that seeds the global generators before each batch, in the loader's processes.

    A batch is given as (seed, indices), so an epoch that is resumed at any batch draws the same
    random numbers as an uninterrupted one.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitems__(self, batch: tuple[int, list[int]]) -> list[Any]:
        seed, indices = batch
        seed_everything(seed)
        read_items = getattr(self.dataset, "__getitems__", None)
        items = read_items(indices) if read_items else [self.dataset[index] for index in indices]
        return [item_tensors(self.dataset, item) for item in items]


def _streamed(
    dataset: Dataset[Any],
    chunks: list[tuple[int, list[int]]],
    device: torch.device,
    precision: torch.dtype,
) -> Iterator[Batch]:
    """The batches of a streamed Dataset; each chunk is (seed, indices) of a batch."""
    loader: DataLoader[Any] = DataLoader(
        _Seeded(dataset),
        batch_sampler=chunks,  # type: ignore[arg-type]
        num_workers=_LOADER_PROCESSES,
        pin_memory=device.type == "cuda",
        # A loader draws a seed from its generator. From the global one it would be drawn again
        # when an epoch is resumed, and change the random numbers that follow.
        generator=torch.Generator(),
    )
    for x, y in loader:
        x, y = in_precision(x, precision), in_precision(as_targets(y), precision)
        yield x.to(device, non_blocking=True), y.to(device, non_blocking=True)


def augmented(x: torch.Tensor, generator: torch.Generator, crop: int, flip: bool) -> torch.Tensor:
    """Augment a batch N×C×H×W: mirror half of it, then crop at random after zero padding.

    `crop` is the width of the padding in pixels on each side; the shape stays the same.
    """
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
