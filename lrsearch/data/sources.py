"""The data sets. To add one: a function here, an entry in SOURCES, a YAML in conf/data.

The functions from `mnist` to `normalise` are copied unchanged into exported scripts, so each is
short, self-contained and uses nothing else of lrsearch. Those of data sets return (pool_x, pool_y,
test_x, test_y); the pool is later split into training and validation part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import Component, Registry

if TYPE_CHECKING:
    import torch


def mnist(root: str, download: bool = True) -> tuple[torch.Tensor, ...]:
    """MNIST: 60,000 and 10,000 images of handwritten digits, bytes, N x 1 x 28 x 28."""
    from torchvision.datasets import MNIST

    pool, test = (MNIST(root, train=train, download=download) for train in (True, False))
    return pool.data[:, None], pool.targets, test.data[:, None], test.targets


def fashion_mnist(root: str, download: bool = True) -> tuple[torch.Tensor, ...]:
    """Fashion-MNIST: 60,000 and 10,000 images of clothes, bytes, N x 1 x 28 x 28."""
    from torchvision.datasets import FashionMNIST

    pool, test = (FashionMNIST(root, train=train, download=download) for train in (True, False))
    return pool.data[:, None], pool.targets, test.data[:, None], test.targets


def cifar10(root: str, download: bool = True) -> tuple[torch.Tensor, ...]:
    """CIFAR-10: 50,000 and 10,000 colour photographs, bytes, N x 3 x 32 x 32."""
    import torch
    from torchvision.datasets import CIFAR10

    pool, test = (CIFAR10(root, train=train, download=download) for train in (True, False))
    pool_x, test_x = (torch.from_numpy(part.data).permute(0, 3, 1, 2) for part in (pool, test))
    return pool_x, torch.tensor(pool.targets), test_x, torch.tensor(test.targets)


def digits(size: int = 8, channels: int = 1) -> tuple[torch.Tensor, ...]:
    """The 1,797 handwritten digits of scikit-learn, N x channels x size x size; 359 for testing."""
    import torch
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(labels)
    if size != 8:
        x = torch.nn.functional.interpolate(x, size=(size, size), mode="bilinear")
    x = x.repeat(1, channels, 1, 1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    test, pool = order[:359], order[359:]
    return x[pool], y[pool], x[test], y[test]


def linear(
    n: int = 1000, features: int = 5, noise: float = 0.2, seed: int = 0
) -> tuple[torch.Tensor, ...]:
    """Linear regression, y = sum of (i / 0.5) x_i + noise: x is N x features, y is N x 1.

    n samples are for training, 250 for validation and 250 for testing.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n + 500, features, generator=generator)
    weights = torch.arange(features) / 0.5
    y = (x * weights).sum(1, keepdim=True)
    y += noise * torch.randn(n + 500, 1, generator=generator)
    return x[:-250], y[:-250], x[-250:], y[-250:]


def split(
    x: torch.Tensor, y: torch.Tensor, n_validation: int, seed: int
) -> tuple[torch.Tensor, ...]:
    """Split samples at random into (train_x, train_y, validation_x, validation_y), by a seed."""
    import torch

    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    validation, train = order[:n_validation], order[n_validation:]
    return x[train], y[train], x[validation], y[validation]


def normalise(train: torch.Tensor, *others: torch.Tensor) -> list[torch.Tensor]:
    """Images as float32; each channel has mean 0 and standard deviation 1 over `train`."""
    import torch

    # Sums of bytes are exact in float64, so that all machines compute the same numbers.
    channels = [channel.double() for channel in train.unbind(1)]
    mean = torch.stack([channel.mean() for channel in channels])
    square = torch.stack([channel.square().mean() for channel in channels])
    std = (square - mean.square()).clamp(min=0).sqrt()
    std[std == 0] = 1.0  # a constant channel stays constant
    mean, std = mean.float().view(1, -1, 1, 1), std.float().view(1, -1, 1, 1)
    return [(images - mean) / std for images in (train, *others)]


@dataclass(frozen=True)
class RawFiles:
    """The files that a source reads; folders are relative to the data root."""

    folder: str
    unpacked: Mapping[str, int | None]
    """Size in bytes by file name; None for files whose content torchvision checks itself."""
    archive_folder: str
    """The folder of the archives, into which they are unpacked."""
    archives: tuple[str, ...]


@dataclass(frozen=True)
class Source(Component):
    """A data set: a function that returns its tensors."""

    validation: int | float = 0.1
    """Default size of the validation part: number of samples (int) or share of the pool (float)."""
    images: bool = False
    """Whether the inputs are images (N x C x H x W), which are normalised per channel."""
    files: RawFiles | None = None
    """The raw files, read by `load(root, download)`; None for data that are generated."""
    size: int | None = None
    """Height and width in pixels, which a fallback takes on."""
    channels: int | None = None
    """Number of channels, which a fallback takes on."""

    def read(self, *arguments: Any, **named: Any) -> tuple[torch.Tensor, ...]:
        """Call the function of the data set for (pool_x, pool_y, test_x, test_y)."""
        tensors: tuple[torch.Tensor, ...] = self.load()(*arguments, **named)
        return tensors


def _mnist_files(name: str) -> RawFiles:
    unpacked = {
        "train-images-idx3-ubyte": 47_040_016,
        "train-labels-idx1-ubyte": 60_008,
        "t10k-images-idx3-ubyte": 7_840_016,
        "t10k-labels-idx1-ubyte": 10_008,
    }
    folder = f"{name}/raw"
    return RawFiles(folder, unpacked, folder, tuple(f"{file}.gz" for file in unpacked))


_CIFAR10_FILES = RawFiles(
    "cifar-10-batches-py",
    {f"data_batch_{i}": None for i in range(1, 6)} | {"test_batch": None, "batches.meta": None},
    "",
    ("cifar-10-python.tar.gz",),
)

SOURCES = Registry(
    "data",
    [
        Source(
            "mnist",
            mnist,
            help="60,000 + 10,000 handwritten digits, 28 x 28",
            validation=10_000,
            images=True,
            files=_mnist_files("MNIST"),
            size=28,
            channels=1,
        ),
        Source(
            "fashion_mnist",
            fashion_mnist,
            help="60,000 + 10,000 pictures of clothes, 28 x 28",
            validation=10_000,
            images=True,
            files=_mnist_files("FashionMNIST"),
            size=28,
            channels=1,
        ),
        Source(
            "cifar10",
            cifar10,
            help="50,000 + 10,000 colour photographs, 32 x 32",
            validation=5_000,
            images=True,
            files=_CIFAR10_FILES,
            size=32,
            channels=3,
        ),
        Source(
            "digits",
            digits,
            {
                "size": Parameter("int", 8, 1, help="pixels of a side; interpolated unless 8"),
                "channels": Parameter("int", 1, 1, help="copies of the grey channel"),
            },
            "scikit-learn's 1,797 handwritten digits, 8 x 8; needs no download",
            validation=0.25,
            images=True,
        ),
        Source(
            "linear",
            linear,
            {
                "n": Parameter("int", 1000, 1, help="samples for training"),
                "features": Parameter("int", 5, 1, help="inputs of a sample"),
                "noise": Parameter("float", 0.2, 0.0, help="standard deviation added to targets"),
                "seed": Parameter("int", 0, 0, help="of the numbers drawn"),
            },
            "linear regression on numbers that are drawn; needs no download",
            validation=250,
        ),
    ],
    where="data",
)

FALLBACKS = ("digits",)
"""Sources that need no download and can have any image size and number of channels."""
