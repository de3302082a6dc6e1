"""Data, a model and functions of a user's own whose batches are dicts, for several tests."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset, IterableDataset

Batch = dict[str, torch.Tensor]


class Net(nn.Module):
    """Classifies rows of token ids by the mean of their embeddings; it returns its loss."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, width)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(width, 2)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> Batch:
        mean = (self.embed(ids) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        logits = self.head(self.dropout(mean))
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


class Texts(Dataset[Any]):
    """Rows of different lengths; reading one draws a random number, as an augmentation does."""

    def __init__(self, n: int, seed: int, length: int | None = None) -> None:
        rng = random.Random(seed)
        self.rows = [
            [rng.randrange(1, 12) for _ in range(length or rng.randrange(3, 7))] for _ in range(n)
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        weight = 1.0 + 0.1 * random.random()
        return {"ids": row, "mask": [weight] * len(row), "labels": int(sum(row) > 6 * len(row))}


class Stream(IterableDataset[Any]):
    """The same rows without indices, in another order in each pass."""

    def __init__(self, n: int, seed: int) -> None:
        self.texts = Texts(n, seed)

    def __iter__(self) -> Iterator[Any]:
        return (self.texts[index] for index in torch.randperm(len(self.texts)).tolist())


class SizedStream(Stream):
    def __len__(self) -> int:
        return len(self.texts)


def collate(items: Sequence[Mapping[str, Any]], pad: int = 0) -> Batch:
    """Rows of different lengths as one batch."""
    width = max(len(item["ids"]) for item in items)

    def rows(key: str) -> torch.Tensor:
        return torch.tensor([[*item[key], *[pad] * (width - len(item[key]))] for item in items])

    labels = torch.tensor([item["labels"] for item in items])
    return {"ids": rows("ids"), "mask": rows("mask"), "labels": labels}


def load(kind: str = "padded", n: int = 60) -> tuple[Any, ...]:
    """The parts of the data in one of several forms."""
    sizes = ((n, 0), (21, 1), (15, 2))
    if kind == "streamed":
        return tuple(Texts(*size) for size in sizes)
    if kind == "read":
        return tuple(Texts(*size, length=4) for size in sizes)
    if kind == "sized":
        return tuple(SizedStream(*size) for size in sizes)
    if kind == "unsized":
        return tuple(Stream(*size) for size in sizes)
    random.seed(0)
    return tuple(
        collate([text[k] for k in range(len(text))]) for text in (Texts(*s) for s in sizes)
    )


def step(model: Any, batch: Batch, noise: float = 0.0) -> torch.Tensor:
    """The loss that the model returns, times a random number."""
    loss: torch.Tensor = model(**batch)["loss"]
    return loss * (1.0 + noise * random.random())


def evaluate(model: Any, batches: Iterable[Batch]) -> dict[str, float]:
    """The loss, and F1 of all samples at once."""
    losses, guesses, labels = [], [], []
    for batch in batches:
        outputs = model(**batch)
        losses.append(outputs["loss"] * len(batch["labels"]))
        guesses.append(outputs["logits"].argmax(1))
        labels.append(batch["labels"])
    guess, label = torch.cat(guesses).bool(), torch.cat(labels).bool()
    f1 = 2 * int((guess & label).sum()) / max(1, int(guess.sum()) + int(label.sum()))
    return {"val_loss": float(sum(losses) / len(label)), "f1": f1}


def mixup(model: Any, batch: Any, alpha: float = 0.4) -> torch.Tensor:
    """Cross-entropy of mixed images (Zhang et al. 2018, arXiv 1710.09412)."""
    x, y = batch
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    other = torch.randperm(len(x), device=x.device)
    outputs = model(share * x + (1 - share) * x[other])
    first, second = (functional.cross_entropy(outputs, labels) for labels in (y, y[other]))
    return share * first + (1 - share) * second
