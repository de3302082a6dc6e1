"""Batches by index, on the device; the order of an epoch is a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from lrsearch.data.own import as_targets
from lrsearch.data.parts import StreamedPart, TensorPart
from lrsearch.seeds import derived_seed

Batch = tuple[torch.Tensor, torch.Tensor]
Part = TensorPart | StreamedPart

_LOADER_PROCESSES = 2


def order(n: int, seed: int, epoch: int) -> torch.Tensor:
    """The permutation of `n` samples in an epoch, int64, on the CPU."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    return torch.randperm(n, generator=generator)


def training_batches(
    part: Part,
    batch_size: int,
    seed: int,
    epoch: int,
    device: torch.device,
    crop: int = 0,
    flip: bool = False,
) -> Iterator[Batch]:
    """The batches of one epoch, all of one size: an incomplete last one is left out.

    `crop` pads by so many zeros and cuts at random; `flip` mirrors half of the images.
    """
    indices = order(len(part), seed, epoch)
    batch_size = min(batch_size, len(part))
    batches = len(part) // batch_size
    if isinstance(part, StreamedPart):
        chunks = indices[: batches * batch_size].view(batches, batch_size).tolist()
        source: Iterator[Batch] = _streamed(part.dataset, chunks, device)
    else:
        source = _gathered(part, indices.to(device), batch_size, batches)
    if not crop and not flip:
        return source
    generator = torch.Generator(device).manual_seed(derived_seed(seed, "augment", epoch))
    return ((augmented(x, generator, crop, flip), y) for x, y in source)


def _gathered(part: TensorPart, indices: torch.Tensor, size: int, batches: int) -> Iterator[Batch]:
    x, y = part.x, part.y
    for start in range(0, batches * size, size):
        chosen = indices[start : start + size]
        yield x.index_select(0, chosen), y.index_select(0, chosen)


def evaluation_batches(part: Part, batch_size: int, device: torch.device) -> Iterator[Batch]:
    """All samples in their order; the last batch may be smaller."""
    if isinstance(part, StreamedPart):
        starts = range(0, len(part), batch_size)
        chunks = [list(range(start, min(start + batch_size, len(part)))) for start in starts]
        yield from _streamed(part.dataset, chunks, device)
        return
    for start in range(0, len(part), batch_size):
        yield part.x[start : start + batch_size], part.y[start : start + batch_size]


def _streamed(
    dataset: Dataset[Any], chunks: list[list[int]], device: torch.device
) -> Iterator[Batch]:
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=chunks,
        num_workers=_LOADER_PROCESSES,
        pin_memory=device.type == "cuda",
    )
    for x, y in loader:
        yield x.float().to(device, non_blocking=True), as_targets(y).to(device, non_blocking=True)


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
