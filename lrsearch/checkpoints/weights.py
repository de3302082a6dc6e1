"""Files of weights: a state dict as safetensors, to the last bit.

A safetensors file holds named dense tensors that share no memory. What a state dict has beyond
that is kept as follows:

- Tensors that share memory (tied weights, views) are written once for each name, so that the file
  can be read by any program; loaded into a model whose weights are tied, they are tied again.
- Tensors that are not contiguous are written in the order of their elements.
- Complex numbers that safetensors does not know (`complex128`) are written as pairs of real ones.
- Other entries (what `get_extra_state` returns: numbers, text, bytes, lists, tuples and dicts of
  these and of tensors) stand in the file's metadata as JSON.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from lrsearch.errors import UserError

SUFFIX = ".safetensors"
_METADATA = "lrsearch"
_INNER = "lrsearch:"
"""Prefix of the names of tensors within other entries."""


def weights_to_bytes(state: Mapping[str, Any]) -> bytes:
    """The contents of the file of a state dict, whose tensors may be on any device.

    Raises TypeError for an entry that cannot be kept, such as an object of a class of the user's
    or a sparse tensor.
    """
    writer = _Writer()
    entries = [[name, writer.entry(name, value)] for name, value in state.items()]
    return save(writer.tensors, {"format": "pt", _METADATA: json.dumps(entries)})


def weights_from_bytes(data: bytes) -> dict[str, Any]:
    """The state dict in the contents of a weights file, on the CPU, in its order.

    A safetensors file of another program is a plain dict of its tensors. Raises UserError for
    other contents.
    """
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, ValueError) as error:
        raise UserError(f"no file of weights in the format safetensors: {error}") from None
    if _METADATA not in metadata:
        return dict(tensors)
    return {name: _read(node, tensors) for name, node in json.loads(metadata[_METADATA])}


def load_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the weights that a sweep has kept, as a state dict for `model.load_state_dict`.

    `path` is a file `*.safetensors`, or its fsspec URL. Tensors have the shapes and dtypes of the
    model's and are on the CPU, equal to the last bit to what was trained. Entries of the state dict
    that are no tensors are as they were, too. Nothing in the file is executed.

    Raises UserError if there is no such file or it is no safetensors file.
    """
    import fsspec

    try:
        with fsspec.open(str(Path(path).expanduser()) if "://" not in str(path) else path) as file:
            data = file.read()
    except (OSError, ImportError, ValueError) as error:
        raise UserError(f"the weights {path} cannot be read: {error}") from None
    try:
        return weights_from_bytes(data)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


class _Writer:
    """Collects the tensors of a state dict; what else is in it becomes a tree for JSON."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._storages: set[int] = set()

    def entry(self, name: str, value: Any) -> Any:
        """The node of an entry; its tensors are added under names that begin with `name`."""
        if isinstance(value, torch.Tensor):
            return self._tensor(name, value)
        return self._node(f"{_INNER}{name}", value)

    def _node(self, path: str, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._tensor(path, value)
        if value is None or type(value) in (bool, int, float, str):
            return {"value": value}
        if type(value) is bytes:
            return {"bytes": base64.b64encode(value).decode()}
        if type(value) in (list, tuple):
            items = [self._node(f"{path}.{k}", item) for k, item in enumerate(value)]
            return {type(value).__name__: items}
        if isinstance(value, Mapping):
            return {
                "dict": [
                    [self._node(f"{path}.key{k}", key), self._node(f"{path}.{k}", item)]
                    for k, (key, item) in enumerate(value.items())
                ]
            }
        raise TypeError(f"an entry of the type {type(value).__name__} cannot be kept: {path}")

    def _tensor(self, name: str, value: torch.Tensor) -> Any:
        tensor = value.detach()
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise TypeError(f"a tensor that is sparse or quantised cannot be kept: {name}")
        tensor = tensor.cpu().resolve_conj().resolve_neg().contiguous()
        node = {"tensor": name}
        if tensor.dtype is torch.complex128:
            tensor, node["dtype"] = torch.view_as_real(tensor), "complex128"
        storage = tensor.untyped_storage()
        # Part of a larger storage, or shared with another name.
        if storage.nbytes() != tensor.nbytes or storage.data_ptr() in self._storages:
            tensor = tensor.clone()
        self._storages.add(tensor.untyped_storage().data_ptr())
        self.tensors[name] = tensor
        return node


def _read(node: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Any:
    ((kind, value), *more) = node.items()
    if kind == "tensor":
        tensor = tensors[value]
        return torch.view_as_complex(tensor) if more else tensor
    if kind == "bytes":
        return base64.b64decode(value)
    if kind in ("list", "tuple"):
        items = [_read(item, tensors) for item in value]
        return tuple(items) if kind == "tuple" else items
    if kind == "dict":
        return {_read(key, tensors): _read(item, tensors) for key, item in value}
    return value
