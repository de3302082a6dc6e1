"""Batches on the device; the order of an epoch is a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from lrsearch.data.nesting import NestedPart, map_tensors
from lrsearch.data.own import Collate, as_targets, is_stream, length_of, set_epoch
from lrsearch.data.parts import Part, StreamedPart, TensorPart
from lrsearch.errors import UserError
from lrsearch.seeds import derived_seed, seed_everything
from lrsearch.training.generators import OwnGenerators
from lrsearch.training.layout import in_layout
from lrsearch.training.precision import in_precision

Batch = Any
"""Inputs and targets (x, y), or nested tensors of any other form, on the device."""
_LOADER_PROCESSES = 2
_STREAM_PROCESSES = 1
"""Each process would read an IterableDataset from its start, unless the user shards it."""


def order(n: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of `n` samples in an epoch: a permutation, int64, on the CPU."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    return torch.randperm(n, generator=generator)


def augmentation(seed: int, epoch: int, device: torch.device) -> torch.Generator:
    """The generator for an epoch's random crops and flips, at the start of the epoch."""
    return torch.Generator(device).manual_seed(derived_seed(seed, "augment", epoch))


def batches_per_epoch(part: Part, batch_size: int) -> int | None:
    """Number of batches of an epoch, without the incomplete last one.

    None for an IterableDataset that does not tell its length.
    """
    n = samples_of(part)
    return None if n is None else n // min(batch_size, n)


def samples_of(part: Part) -> int | None:
    """Number of samples of a part; None for an IterableDataset that does not tell."""
    return length_of(part.dataset) if isinstance(part, StreamedPart) else len(part)


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
    count: int | None = None,
) -> Iterator[Batch]:
    """The batches of one epoch, all of one size; the incomplete last one is dropped.

    Their number is `count` for a stream that does not tell its length.

    Floating-point and complex numbers are converted to `precision`, the model's. `crop` is the
    number of zero pixels padded on each side before a random crop; `flip` mirrors half of the
    images. A resumed epoch continues at its batch `first`, with the `generator` of its
    augmentation.
    """
    batches = batches_per_epoch(part, batch_size) or count
    assert batches is not None, "a stream without a length has epochs of so many batches"
    numbers = range(first, batches)
    if isinstance(part, StreamedPart) and is_stream(part.dataset):
        source = _stream_epoch(part, batch_size, seed, epoch, numbers, device, precision)
    else:
        size = min(batch_size, len(part))
        indices = order(len(part), seed, epoch)
        if isinstance(part, StreamedPart):
            chunks = indices[: batches * size].view(batches, size).tolist()
            seeded = [
                (derived_seed(seed, "items", epoch, number), chunks[number]) for number in numbers
            ]
            source = _streamed(part, seeded, device, precision)
        else:
            source = _gathered(part, indices.to(device), size, numbers, precision)
    if not crop and not flip:
        return source
    draws = generator or augmentation(seed, epoch, device)
    return ((augmented(x, draws, crop, flip), y) for x, y in source)


def _gathered(
    part: TensorPart | NestedPart,
    indices: torch.Tensor,
    size: int,
    numbers: range,
    precision: torch.dtype,
) -> Iterator[Batch]:
    """The batches with these numbers of a part in memory."""
    if isinstance(part, NestedPart):
        for number in numbers:
            batch = part[indices[number * size : (number + 1) * size]]
            yield map_tensors(lambda tensor: in_precision(tensor, precision), batch)
        return
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
        if is_stream(part.dataset):
            source = _stream(part, batch_size, derived_seed("items"), 0, device, drop_last=False)
            yield from (_on_device(batch, part, device, precision) for batch in source)
            return
        starts = range(0, len(part), batch_size)
        chunks = [
            (derived_seed("items", start), list(range(start, min(start + batch_size, len(part)))))
            for start in starts
        ]
        yield from _streamed(part, chunks, device, precision)
        return
    for start in range(0, len(part), batch_size):
        chosen = slice(start, start + batch_size)
        # Copied, since a model may change its inputs in place and the samples are used again.
        if isinstance(part, NestedPart):
            yield map_tensors(lambda tensor: in_precision(tensor.clone(), precision), part[chosen])
        else:
            x, y = part.x[chosen].clone(), part.y[chosen].clone()
            yield in_precision(x, precision), in_precision(y, precision)


@dataclass(frozen=True)
class EvaluationBatches:
    """The batches of a part on the device, in order; each iteration begins with the first."""

    part: Part
    batch_size: int
    device: torch.device
    precision: torch.dtype
    progress: Callable[[], None] = lambda: None
    """Called after each batch."""
    channels_last: bool = False
    """Whether images have their channels last in memory."""

    def __iter__(self) -> Iterator[Batch]:
        batches = evaluation_batches(self.part, self.batch_size, self.device, self.precision)
        for batch in batches:
            yield in_layout(batch, self.channels_last)
            self.progress()

    def __len__(self) -> int:
        """The number of batches. Raises TypeError for a stream that does not tell its length."""
        return -(-len(self.part) // self.batch_size)


class _Seeded(Dataset[Any]):
    """A Dataset that seeds the global generators before each batch, and makes the batch.

    A batch is given as (seed, indices), so an epoch that is resumed at any batch draws the same
    random numbers as an uninterrupted one. Where the process that trains reads the data, its
    generators are afterwards as they were.
    """

    def __init__(self, part: StreamedPart, device: torch.device) -> None:
        self.dataset, self.device = part.dataset, device
        self.collate = Collate(part.dataset, part.collate)

    def __getitems__(self, batch: tuple[int, list[int]]) -> Any:
        seed, indices = batch
        if get_worker_info() is None:
            with OwnGenerators(seed, self.device):
                return self._read(indices)
        seed_everything(seed)
        return self._read(indices)

    def _read(self, indices: list[int]) -> Any:
        read_items = getattr(self.dataset, "__getitems__", None)
        items = read_items(indices) if read_items else [self.dataset[index] for index in indices]
        return self.collate(items)


def _streamed(
    part: StreamedPart,
    chunks: list[tuple[int, list[int]]],
    device: torch.device,
    precision: torch.dtype,
) -> Iterator[Batch]:
    """The batches of a streamed Dataset; each chunk is (seed, indices) of a batch."""
    workers = part.loader.num_workers
    loader: DataLoader[Any] = DataLoader(
        _Seeded(part, device),
        batch_sampler=chunks,  # type: ignore[arg-type]
        num_workers=_LOADER_PROCESSES if workers is None else workers,
        prefetch_factor=part.loader.prefetch_factor,
        collate_fn=_as_it_is,
        pin_memory=device.type == "cuda",
        # A loader draws a seed from its generator. From the global one it would be drawn again
        # when an epoch is resumed, and change the random numbers that follow.
        generator=torch.Generator(),
    )
    for batch in loader:
        yield _on_device(batch, part, device, precision)


def _as_it_is(batch: Any) -> Any:
    return batch


def _on_device(
    batch: Any, part: StreamedPart, device: torch.device, precision: torch.dtype
) -> Batch:
    """A batch of a streamed Dataset on the device, in the model's precision."""

    def move(value: Any) -> Any:
        return value.to(device) if hasattr(value, "to") else value

    def move_tensor(tensor: torch.Tensor) -> torch.Tensor:
        return in_precision(tensor, precision).to(device, non_blocking=True)

    if part.is_pairs:
        x, y = batch
        return move_tensor(x), move_tensor(as_targets(y))
    return map_tensors(move_tensor, batch, move)


def _stream_epoch(
    part: StreamedPart,
    batch_size: int,
    seed: int,
    epoch: int,
    numbers: range,
    device: torch.device,
    precision: torch.dtype,
) -> Iterator[Batch]:
    """The batches with these numbers of an epoch of an IterableDataset.

    Those before are read and skipped. Where the samples end before the epoch does, they are read
    from the beginning again. Raises UserError if they are fewer than a batch.
    """
    length = length_of(part.dataset)
    size = batch_size if length is None else min(batch_size, length)
    number, again = 0, 0
    while number < numbers.stop:
        before = number
        pass_seed = derived_seed(seed, "stream", epoch, again)
        for batch in _stream(part, size, pass_seed, epoch + again, device, drop_last=True):
            if number >= numbers.start:
                yield _on_device(batch, part, device, precision)
            number += 1
            if number == numbers.stop:
                return
        if number == before:
            raise UserError(
                f"the samples of {type(part.dataset).__name__} are fewer than a batch of {size}"
            )
        again += 1


def _stream(
    part: StreamedPart,
    batch_size: int,
    seed: int,
    number: int,
    device: torch.device,
    drop_last: bool,
) -> Iterator[Any]:
    """The batches of a pass, the `number`th, over an IterableDataset; not moved to the device."""
    set_epoch(part.dataset, number)
    workers = part.loader.num_workers
    loader: DataLoader[Any] = DataLoader(
        part.dataset,
        batch_size=batch_size,
        drop_last=drop_last,
        num_workers=_STREAM_PROCESSES if workers is None else workers,
        prefetch_factor=part.loader.prefetch_factor,
        collate_fn=Collate(part.dataset, part.collate),
        pin_memory=device.type == "cuda",
        worker_init_fn=partial(_seed_worker, seed),
        generator=torch.Generator(),
    )
    if loader.num_workers:
        yield from loader
        return
    generators = OwnGenerators(derived_seed(seed, 0), device)
    with generators:
        iterator = iter(loader)
    end = object()
    while True:
        with generators:
            batch = next(iterator, end)
        if batch is end:
            return
        yield batch


def _seed_worker(seed: int, worker: int) -> None:
    """Seed the generators of a process that reads a stream."""
    seed_everything(derived_seed(seed, worker))


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
