"""Reads data once into a cache of plain tensors, and tells what they are."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrsearch.data.sources import SOURCES
from lrsearch.data.spec import DataInfo, DataSpec
from lrsearch.errors import UserError
from lrsearch.targets import check_arguments

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

_VERSION = 1
_SAMPLED_ITEMS = 64


def prepare(spec: DataSpec) -> DataInfo:
    """The data, read and split, or found in the cache; torch stays unimported on a hit.

    Raises UserError, saying which files go where, when they cannot be had and nothing stands in.
    """
    spec = dataclasses.replace(spec, cache=spec.cache.expanduser(), root=spec.root.expanduser())
    if spec.target is not None:
        return _prepare_own(spec)
    sidecar = spec.cache / f"{spec.name}-{_key(spec)}.json"
    info = _cached(sidecar)
    if info is not None:
        return info
    from lrsearch.data.download import NotAvailable

    try:
        tensors = _read(spec)
    except NotAvailable as error:
        return _fall_back(spec, str(error))
    # Reading may have put files where none were.
    sidecar = spec.cache / f"{spec.name}-{_key(spec)}.json"
    return _store(spec, tensors, sidecar)


def _key(spec: DataSpec) -> str:
    """Changes when the cache would: with the settings and with the raw files."""
    parts = [_VERSION, spec.name, dict(spec.arguments), spec.validation, spec.split_seed]
    for file in SOURCES[spec.name].raw_files(spec.root):
        status = file.stat()
        parts.append([file.name, status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _cached(sidecar: Path) -> DataInfo | None:
    try:
        info = DataInfo.from_json(json.loads(sidecar.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return info if info.file is not None and info.file.exists() else None


def _read(spec: DataSpec) -> Tensors:
    from lrsearch.data.download import readable_root
    from lrsearch.data.split import normalised, split

    source = SOURCES[spec.name]
    check_arguments(source.function, spec.arguments, "data")
    arguments: dict[str, Any] = dict(spec.arguments)
    if source.downloads:
        arguments["root"] = str(readable_root(source, spec.name, spec.root, spec.cache))
    x, y, test_x, test_y = source.function(**arguments)
    train, validation = split(len(x), spec.validation, spec.split_seed)
    inputs = [x[train], x[validation], test_x]
    if x.dim() == 4:
        inputs = normalised(inputs)
    targets = [y[train], y[validation], test_y]
    names = ("train", "validation", "test")
    tensors = {f"{name}_x": one for name, one in zip(names, inputs, strict=True)}
    return tensors | {f"{name}_y": one for name, one in zip(names, targets, strict=True)}


def _fall_back(spec: DataSpec, reason: str) -> DataInfo:
    source = SOURCES[spec.name]
    if spec.fallback is None:
        files = "\n".join(f"  {spec.root.absolute() / file}" for file in source.files)
        raise UserError(
            f"{spec.name} is not on disk and could not be downloaded ({reason}). Put these files "
            f"in place:\n{files}\nor say where they are with data.root=... or LRSEARCH_DATA, "
            f"or let data.fallback=digits stand in"
        )
    size = {"size": source.size} if spec.fallback == "digits" else {}
    other = prepare(
        dataclasses.replace(
            spec, name=spec.fallback, fallback=None, arguments=size, validation=0.25
        )
    )
    return dataclasses.replace(other, wanted=spec.name, fallback_reason=reason)


def _prepare_own(spec: DataSpec) -> DataInfo:
    from lrsearch.data.own import load_own

    tensors = load_own(spec)
    if tensors is None:
        return _streamed(spec)
    return _store(spec, tensors, None)


def _store(spec: DataSpec, tensors: Tensors, sidecar: Path | None) -> DataInfo:
    """Writes the cache, whole or not at all; two processes may do it at once."""
    import torch

    tensors = {name: tensor.contiguous() for name, tensor in sorted(tensors.items())}
    fingerprint = _fingerprint(tensors)
    file = spec.cache / f"{spec.name}-{fingerprint[:16]}.pt"
    spec.cache.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        torch.save(tensors, temporary)
        temporary.replace(file)
    info = DataInfo(
        name=spec.name,
        wanted=spec.name,
        fallback_reason=None,
        fingerprint=fingerprint,
        input_shape=tuple(tensors["train_x"].shape[1:]),
        n_classes=_classes([one for name, one in tensors.items() if name.endswith("_y")]),
        n_train=len(tensors["train_x"]),
        n_validation=len(tensors["validation_x"]),
        n_test=len(tensors["test_x"]) if "test_x" in tensors else 0,
        file=file.absolute(),
    )
    if sidecar is not None:
        temporary = sidecar.with_name(f".{sidecar.name}.{os.getpid()}")
        temporary.write_text(json.dumps(info.to_json()))
        temporary.replace(sidecar)
    return info


def _streamed(spec: DataSpec) -> DataInfo:
    """What is known of Datasets that are not read as a whole: from evenly spaced items."""
    import torch

    from lrsearch.data.own import datasets_of, sample

    datasets = datasets_of(spec)
    lengths = [len(dataset) for dataset in datasets]  # type: ignore[arg-type]
    tensors: Tensors = {"lengths": torch.tensor(lengths)}
    targets = []
    for part, (dataset, length) in enumerate(zip(datasets, lengths, strict=True)):
        chosen = sorted({k * length // _SAMPLED_ITEMS for k in range(_SAMPLED_ITEMS)})
        items = [sample(dataset, index) for index in chosen]
        tensors[f"{part}_x"] = torch.stack([x for x, _ in items])
        tensors[f"{part}_y"] = torch.stack([y for _, y in items])
        targets.append(tensors[f"{part}_y"])
    return DataInfo(
        name=spec.name,
        wanted=spec.name,
        fallback_reason=None,
        fingerprint=_fingerprint(tensors),
        input_shape=tuple(tensors["0_x"].shape[1:]),
        n_classes=getattr(datasets[0], "n_classes", None) or _classes(targets),
        n_train=lengths[0],
        n_validation=lengths[1],
        n_test=lengths[2] if len(lengths) > 2 else 0,
        file=None,
    )


def _classes(targets: list[torch.Tensor]) -> int | None:
    if any(target.is_floating_point() for target in targets):
        return None
    return 1 + max(int(target.max()) for target in targets if len(target))


def _fingerprint(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
