"""Reading data once into the cache of tensors, and the facts about them (DataInfo)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrsearch.data.cache import (
    check_folder,
    fingerprint_of,
    save_tensors,
    unwritable,
)
from lrsearch.data.nesting import tensors_of
from lrsearch.data.progress import announced
from lrsearch.data.raw import DownloadFailed, missing_files, raw_files, read_raw
from lrsearch.data.sources import SOURCES, normalise, split
from lrsearch.data.spec import PART_NAMES, DataInfo, DataSpec, parts_of
from lrsearch.data.values import are_numbers, is_one_hot, kind_of
from lrsearch.errors import UserError
from lrsearch.files import write_whole

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

_VERSION = 1
_SAMPLED_ITEMS = 64


def prepare(spec: DataSpec, anew: bool = False) -> DataInfo:
    """Read and split the data into the cache, or find them there; torch is not imported on a hit.

    `anew` reads the source although the data are in the cache, and repairs a damaged cache file.
    With folds, the sizes are those of one fold's training and validation part.

    Raises UserError with the files to download by hand if a download fails without a fallback.
    """
    return _in_folds(spec, _prepare(spec, anew))


def _in_folds(spec: DataSpec, info: DataInfo) -> DataInfo:
    """The facts with the sizes of a fold. Raises UserError where the data cannot have folds."""
    if spec.folds is None:
        return info
    if info.file is None:
        raise UserError(
            "data.folds: it is for data in memory, and these Datasets are streamed: let them be "
            "read into memory with data.in_memory=always, or leave data.folds out"
        )
    if not info.is_pairs:
        raise UserError("data.folds: it is for data of pairs (x, y), and these are nested")
    assert info.n_train is not None, "the length of data in memory is known"
    assert info.n_validation is not None, "the length of data in memory is known"
    pool = info.n_train + info.n_validation
    size = pool // spec.folds
    if size == 0:
        raise UserError(f"data.folds: {spec.folds} is more than the {pool} samples")
    return dataclasses.replace(info, n_train=pool - size, n_validation=size)


def _prepare(spec: DataSpec, anew: bool) -> DataInfo:
    check_folder(spec.cache_folder)
    if spec.target is not None:
        return _prepare_own(spec)
    info = None if anew else _cached(spec)
    if info is not None:
        return info
    try:
        tensors = _read(spec)
    except DownloadFailed as error:
        return _fall_back(spec, str(error), anew)
    # Computed again: reading may have added raw files, which the name of the sidecar depends on.
    return _store(spec, tensors, _sidecar(spec))


def prepared(spec: DataSpec) -> DataInfo | None:
    """The facts about data in the cache; None if `prepare` would have to read or download them."""
    info = None if spec.target is not None else _cached(spec)
    return None if info is None else _in_folds(spec, info)


def _sidecar(spec: DataSpec) -> Path:
    """The JSON file of facts, whose name is a hash of the settings and the state of raw files."""
    parts = [_VERSION, spec.name, dict(spec.arguments), spec.validation, spec.split_seed]
    files = SOURCES[spec.name].files
    if files is not None:
        parts.append(raw_files(files, spec.root_folder, spec.cache_folder))
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return spec.cache_folder / f"{spec.name}-{key}.json"


def _cached(spec: DataSpec) -> DataInfo | None:
    sidecar = _sidecar(spec)
    if not sidecar.is_file():  # missing, or a pipe or device, of which reading might never end
        return None
    try:
        info = DataInfo.from_json(json.loads(sidecar.read_text()))
        # The path in the sidecar is not used: the folder may have been moved since.
        file = _file(spec, info.fingerprint)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dataclasses.replace(info, file=file) if file.exists() else None


def _file(spec: DataSpec, fingerprint: str) -> Path:
    """The cache file of the tensors with this fingerprint."""
    return spec.cache_folder / f"{spec.name}-{fingerprint[:16]}.pt"


def _read(spec: DataSpec) -> Tensors:
    source = SOURCES[spec.name]
    if source.files is not None:
        raw = read_raw(spec.name, source, spec.root_folder, spec.cache_folder)
    else:
        with announced(f"reading the data {spec.name}"):
            raw = source.read(**spec.arguments)
    x, y, test_x, test_y = raw
    wanted = source.validation if spec.validation is None else spec.validation
    train_x, train_y, validation_x, validation_y = split(
        x, y, validation_size(wanted, len(x)), spec.split_seed
    )
    if source.images:
        train_x, validation_x, test_x = normalise(train_x, validation_x, test_x)
    return {
        "train_x": train_x,
        "train_y": train_y,
        "validation_x": validation_x,
        "validation_y": validation_y,
        "test_x": test_x,
        "test_y": test_y,
    }


def validation_size(wanted: float, n: int) -> int:
    """Number of samples of the validation part: `wanted`, or the share `wanted` of `n` below 1.

    Raises UserError if one of the two parts would be empty.
    """
    size = round(n * wanted) if wanted < 1 else round(wanted)
    if not 0 < size < n:
        raise UserError(f"data.validation: {wanted:g} of {n} samples leaves no two parts")
    return size


def _fall_back(spec: DataSpec, reason: str, anew: bool) -> DataInfo:
    source = SOURCES[spec.name]
    assert source.files is not None, "only data with raw files are downloaded"
    if spec.fallback is None:
        raise UserError(missing_files(spec.name, source.files, spec.root_folder, reason))
    other = _prepare(fallback_spec(spec), anew)
    return dataclasses.replace(other, wanted=spec.name, fallback_reason=reason)


def fallback_spec(spec: DataSpec) -> DataSpec:
    """The fallback data, with the image size and channels of the data that were asked for."""
    source = SOURCES[spec.name]
    shape = {"size": source.size, "channels": source.channels}
    return dataclasses.replace(
        spec, name=str(spec.fallback), fallback=None, arguments=shape, validation=None
    )


def _prepare_own(spec: DataSpec) -> DataInfo:
    from lrsearch.data.own import load_own

    tensors = load_own(spec)
    if tensors is None:
        return _streamed(spec)
    if spec.fingerprint is not None:
        raise UserError(
            "data.fingerprint is for streamed data; these are read into memory, and their "
            "fingerprint is computed from their content: leave it out, or set data.in_memory=never"
        )
    return _store(spec, tensors, None)


def _store(spec: DataSpec, tensors: Tensors, sidecar: Path | None) -> DataInfo:
    """Write the tensors to the cache and their facts to the sidecar, if any; return the facts.

    Two processes may do it at once. Raises UserError if the cache cannot be written.
    """
    tensors = {name: tensor.contiguous() for name, tensor in sorted(tensors.items())}
    fingerprint = fingerprint_of(tensors)
    file = _file(spec, fingerprint)
    save_tensors(file, tensors, fingerprint)
    lengths = [
        len(next(tensor for name, tensor in tensors.items() if name.startswith(part)))
        for part in parts_of(tensors)
    ]
    info = _facts(spec, tensors, lengths, fingerprint, file)
    if sidecar is not None:
        try:
            write_whole(sidecar, json.dumps(info.to_json()))
        except OSError as error:
            raise unwritable(sidecar, error) from None
    return info


def _streamed(spec: DataSpec) -> DataInfo:
    """The facts about streamed Datasets, from evenly spaced items."""
    import torch

    from lrsearch.data.own import (
        check_alike,
        check_kinds,
        datasets_of,
        is_pair,
        is_stream,
        length_of,
        sampled,
    )

    datasets: list[Any] = list(datasets_of(spec))
    lengths = [length_of(dataset) for dataset in datasets]
    tensors: Tensors = {}
    changing: list[str] = []
    is_pairs: dict[str, bool] = {}
    for name, dataset, length in zip(PART_NAMES, datasets, lengths, strict=False):
        count = _SAMPLED_ITEMS if length is None else length
        chosen = sorted({k * count // _SAMPLED_ITEMS for k in range(_SAMPLED_ITEMS)})
        batch = sampled(spec, dataset, chosen, name)
        is_pairs[name] = is_pair(batch) and len(tensors_of(batch)) == 2
        found = _named(name, batch, is_pairs[name])
        tensors |= found
        # Items drawn from a generator of the Dataset's own differ each time they are read, so
        # their values are left out of the fingerprint.
        again = _named(name, sampled(spec, dataset, chosen, name), is_pairs[name])
        changing += [
            key
            for key, first in found.items()
            if key not in again or not _same_bytes(first, again[key])
        ]
    check_kinds(spec, is_pairs)
    classes = None
    if is_pairs["train"]:
        check_alike(spec, tensors, looked_at=" that were looked at")
        if not are_numbers(tensors["train_y"]):
            labels = [tensor for name, tensor in tensors.items() if name.endswith("_y")]
            classes = _classes_of(spec, datasets[0], labels)
    known = torch.tensor([-1 if length is None else length for length in lengths])
    identity: Tensors = {"lengths": known}
    for name, tensor in tensors.items():
        if spec.fingerprint is not None or name in changing:
            identity[f"{name} {tensor.dtype} {tuple(tensor.shape)}"] = torch.empty(0)
        else:
            identity[name] = tensor
    if spec.fingerprint is not None:
        identity[f"named {spec.fingerprint}"] = torch.empty(0)
    facts = _facts(spec, tensors, lengths, fingerprint_of(identity), None)
    return dataclasses.replace(facts, n_classes=classes, is_stream=any(map(is_stream, datasets)))


def _named(part: str, batch: Any, is_pairs: bool) -> Tensors:
    """The tensors of a batch by name: `train_x` and `train_y`, or `train:0`, `train:1`, ..."""
    from lrsearch.data.own import as_targets

    tensors = tensors_of(batch)
    if is_pairs:
        return {f"{part}_x": tensors[0], f"{part}_y": as_targets(tensors[1])}
    return {f"{part}:{number}": tensor for number, tensor in enumerate(tensors)}


def _facts(
    spec: DataSpec,
    tensors: Tensors,
    lengths: Sequence[int | None],
    fingerprint: str,
    file: Path | None,
) -> DataInfo:
    """The facts about data with these tensors, or with these tensors of a sample of them.

    `lengths` are those of the parts.
    """
    is_pairs = "train_x" in tensors
    targets = [tensor for name, tensor in tensors.items() if name.endswith("_y")]
    train, validation, *test = lengths
    return DataInfo(
        name=spec.name,
        wanted=spec.name,
        fallback_reason=None,
        fingerprint=fingerprint,
        input_shape=tuple(tensors["train_x"].shape[1:]) if is_pairs else (),
        n_classes=_classes(targets) if is_pairs else None,
        n_targets=_targets(tensors["train_y"]) if is_pairs else 1,
        has_labels=is_pairs and _has_labels(tensors),
        n_train=train,
        n_validation=validation,
        n_test=test[0] if test else 0,
        file=file,
        inputs_are=kind_of(tensors["train_x"]) if is_pairs else DataInfo.inputs_are,
        is_pairs=is_pairs,
    )


def _same_bytes(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors are equal to the last bit; NaN equals itself."""
    return fingerprint_of({"": first}) == fingerprint_of({"": second})


def _classes_of(spec: DataSpec, dataset: Any, labels: list[torch.Tensor]) -> int:
    """Number of classes of a streamed Dataset: declared by it, or else counted in its items.

    Raises UserError if an item has a class beyond the declared number.
    """
    seen = _classes(labels) or 0
    declared = _declared_classes(dataset)
    if declared is not None and declared < seen:
        raise UserError(
            f"{spec.target}: the training Dataset says that there are {declared} classes, and an "
            f"item is of class {seen - 1}"
        )
    return declared or seen


def _declared_classes(dataset: Any) -> int | None:
    """The number of classes that a Dataset declares; None without a declaration.

    It comes from `n_classes`, `classes`, `targets` or the targets of a TensorDataset.
    """
    if hasattr(dataset, "n_classes"):
        return int(dataset.n_classes)
    if hasattr(dataset, "classes"):
        return len(dataset.classes)
    if hasattr(dataset, "targets"):
        return 1 + int(max(dataset.targets))
    if hasattr(dataset, "tensors"):  # torch's TensorDataset
        return 1 + int(dataset.tensors[-1].max())
    return None


def _classes(targets: list[torch.Tensor]) -> int | None:
    """Number of classes among the targets of all parts; None if they are numbers."""
    if any(are_numbers(target) for target in targets):
        return None
    if all(is_one_hot(target) for target in targets):
        return int(targets[0].shape[1])
    return 1 + max(int(target.max()) for target in targets if len(target))


def _targets(y: torch.Tensor) -> int:
    """How many numbers are predicted for each sample; 1 for classes."""
    return int(y[0].numel()) if are_numbers(y) else 1


def _has_labels(tensors: Tensors) -> bool:
    """Whether the targets of all parts are floats that are 0 or 1, several for each sample."""
    targets = [tensor for name, tensor in tensors.items() if name.endswith("_y")]
    return all(
        y.is_floating_point() and y[0].numel() > 1 and bool(((y == 0) | (y == 1)).all())
        for y in targets
    )
