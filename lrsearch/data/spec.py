"""What data are wanted (DataSpec), and what was found (DataInfo)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge

from lrsearch.own_code import Signature, load_target

DEFAULT_CACHE = Path("~/.cache/lrsearch")


@dataclass(frozen=True)
class DataSpec:
    """The data that a sweep trains on, as asked for."""

    name: str
    """A name of the registry `SOURCES`, or the dotted target."""
    target: str | None = None
    """Dotted path of the user's function ("mypkg.load"); None: `name` is of the registry."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the target, or of the function of the registry (linear: n=1000, noise=0.2)."""
    root: Path = Path("data")
    """Where raw files are, or are downloaded to."""
    cache: Path = DEFAULT_CACHE
    """Folder of the cache of tensors."""
    validation: int | float | None = None
    """Samples (int) or share (float) of the training part; None: the default of the source."""
    split_seed: Annotated[int, Ge(0)] = 0
    fallback: str | None = None
    """What stands in when the download fails: "digits", or None for an error."""
    in_memory: Literal["auto", "always", "never"] = "auto"
    """Whether the user's torch Datasets are read into memory, once, or streamed."""
    fingerprint: str | None = None
    """Name of the data, for the user's streamed Datasets: in place of what their items say."""
    crop: Annotated[int, Ge(0)] = 0
    """Augmentation, done by the training loop: pad by so many pixels and crop at random."""
    flip: bool = False
    """Augmentation, done by the training loop: mirror left and right at random."""

    def with_arguments(self, tuned: Mapping[str, Any]) -> DataSpec:
        """The same with tuned arguments: of the function, else fields of this class.

        Raises UserError when the user's function cannot be imported.
        """
        names = {one.name for one in fields(self)} & tuned.keys()
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
    """The data that a sweep trains on, as found. Small; survives a round trip through JSON."""

    name: str
    """What the data are; differs from `wanted` when the fallback stands in."""
    fingerprint: str
    """sha256 of the bytes, shapes and types of all parts (streamed data: of a sample of them)."""
    input_shape: tuple[int, ...]
    """Shape of one sample: (channels, height, width) for images."""
    n_classes: int | None
    """None: the targets are numbers (regression)."""
    n_train: int
    n_validation: int
    n_test: int
    fallback_reason: str | None
    """Why the fallback stands in; None when it does not."""
    wanted: str
    """`DataSpec.name`."""
    file: Path | None
    """The cache file; None when the data are streamed."""
    n_targets: int = 1
    """Regression: numbers to predict for a sample."""
    inputs_are: str = "floating-point numbers"
    """What the inputs are, whatever their precision: `kind_of` says."""

    @property
    def n_outputs(self) -> int:
        """How many outputs a model of these data has: the classes, or the numbers to predict."""
        return self.n_classes or self.n_targets

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        changed = {"file": str(self.file) if self.file else None}
        return asdict(self) | changed | {"input_shape": list(self.input_shape)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> DataInfo:
        """The inverse of `to_json`. Raises KeyError or TypeError on anything else."""
        file = plain["file"]
        changed = {"input_shape": tuple(plain["input_shape"]), "file": Path(file) if file else None}
        return cls(**{**plain, **changed})
