"""The data that a configuration asks for (DataSpec), and the data that were read (DataInfo)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge

from lrsearch.own_code import Signature, load_target
from lrsearch.registry import ComponentConfig

DEFAULT_CACHE = Path("~/.cache/lrsearch")
PART_NAMES = ("train", "validation", "test")
"""Names of the parts of a data set, in the order in which functions return them."""


def parts_of(tensors: Iterable[str]) -> list[str]:
    """The names of the parts that have tensors of these names."""
    return [part for part in PART_NAMES if any(name.startswith(part) for name in tensors)]


@dataclass(frozen=True)
class LoaderSettings:
    """How the DataLoader reads streamed Datasets of the user."""

    collate_fn: ComponentConfig | None = None
    """The user's function that makes a batch of a list of items; None stacks them as torch does."""
    num_workers: Annotated[int, Ge(0)] | None = None
    """Processes that read; 0 reads in the process that trains. None is 2 for Datasets with indices,
    and 1 for an IterableDataset, which more would all read from its start."""
    prefetch_factor: Annotated[int, Ge(1)] | None = None
    """Batches that each process reads ahead; None is torch's default."""


@dataclass(frozen=True)
class DataSpec:
    """The data that a configuration asks for."""

    name: str
    """A name of the registry `SOURCES`, or the dotted path of the user's function."""
    target: str | None = None
    """Dotted path of the user's function, such as "mypkg.load"; None for data of the registry."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the function, such as n=1000 and noise=0.2 for `linear`."""
    root: Path = Path("data")
    """Folder of the raw files, into which they are downloaded."""
    cache: Path = DEFAULT_CACHE
    """Folder of the cache of tensors."""
    validation: int | float | None = None
    """Validation part of the pool: number of samples (int) or share (float); None is the default of
    the source."""
    split_seed: Annotated[int, Ge(0)] = 0
    """Seed of the split of the pool into training and validation part."""
    folds: Annotated[int, Ge(2)] | None = None
    """Cross-validation: number of folds of the pool, each of which is the validation part once."""
    fallback: str | None = None
    """The data used instead if the download fails: "digits", or None for an error."""
    in_memory: Literal["auto", "always", "never"] = "auto"
    """Whether the user's torch Datasets are read into memory once, or streamed in each epoch."""
    fingerprint: str | None = None
    """Identity of the user's streamed Datasets; None computes it from a sample of their items."""
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    """How streamed Datasets of the user are read."""
    crop: Annotated[int, Ge(0)] = 0
    """Augmentation: width in pixels of the zero padding before a random crop; 0 is no crop."""
    flip: bool = False
    """Augmentation: mirror half of the images left to right, at random."""

    def with_arguments(self, tuned: Mapping[str, Any]) -> DataSpec:
        """A copy with tuned values: each is an argument of the user's function, or else a field.

        A value that is neither is an argument of the data set's function.

        Raises UserError if the user's function cannot be imported.
        """
        names = {field.name for field in fields(self)} & tuned.keys()
        if names and self.target is not None:
            names -= {*Signature.of(load_target(self.target, "data")).named}
        changed = {name: value for name, value in tuned.items() if name in names}
        own = {name: value for name, value in tuned.items() if name not in names}
        return replace(self, **changed, arguments={**self.arguments, **own})

    @property
    def root_folder(self) -> Path:
        """`root` as an absolute path."""
        return self.root.expanduser().absolute()

    @property
    def cache_folder(self) -> Path:
        """`cache` as an absolute path."""
        return self.cache.expanduser().absolute()


@dataclass(frozen=True)
class DataInfo:
    """Facts about the data that were read, without the data; convertible to JSON and back."""

    name: str
    """Name of the data that were read; differs from `wanted` where the fallback was used."""
    fingerprint: str
    """sha256 of the bytes, shapes and types of all parts (streamed data: of a sample of them)."""
    input_shape: tuple[int, ...]
    """Shape of one sample: (channels, height, width) for images; () for other batches than
    (inputs, targets)."""
    n_classes: int | None
    """Number of classes; None for regression, whose targets are numbers, and for other batches
    than (inputs, targets)."""
    n_train: int | None
    """Number of training samples; None for an IterableDataset that does not tell."""
    n_validation: int | None
    n_test: int | None
    """0 without a test part."""
    fallback_reason: str | None
    """Why the fallback was used; None where it was not."""
    wanted: str
    """Name of the data that were asked for: `DataSpec.name`."""
    file: Path | None
    """The cache file; None for streamed data."""
    n_targets: int = 1
    """Regression: how many numbers are predicted for each sample."""
    has_labels: bool = False
    """Whether several numbers are predicted for each sample and all of them are 0 or 1."""
    inputs_are: str = "floating-point numbers"
    """Kind of the inputs, as `lrsearch.data.values.kind_of` names it."""
    is_pairs: bool = True
    """Whether a batch is (inputs, targets), two tensors; a batch of anything else is for
    `train.loss_step`."""
    is_stream: bool = False
    """Whether a part is an IterableDataset."""

    @property
    def extent(self) -> str:
        """The number of training samples in words."""
        return "a stream of samples" if self.n_train is None else f"{self.n_train} samples"

    @property
    def n_outputs(self) -> int:
        """Number of outputs of a model for these data: classes, or numbers to predict."""
        return self.n_classes or self.n_targets

    def to_json(self) -> dict[str, Any]:
        """The facts as plain values, which `from_json` reads."""
        changed = {"file": str(self.file) if self.file else None}
        return asdict(self) | changed | {"input_shape": list(self.input_shape)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> DataInfo:
        """Read the output of `to_json`. Raises KeyError or TypeError for anything else."""
        file = plain["file"]
        changed = {"input_shape": tuple(plain["input_shape"]), "file": Path(file) if file else None}
        return cls(**{**plain, **changed})
