"""The checkpoint file: one line that says whose it is, then what torch.save writes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import torch

_MAGIC = "lrsearch-checkpoint"
_VERSION = "1"
_LONGEST_HEADER = 4096

Parts = Sequence[bytes | memoryview]
"""A file's contents, in pieces: a large one is not copied to be put together."""


class Damaged(Exception):
    """A file is not the checkpoint that was saved; the message says why."""


@dataclass(frozen=True)
class Identity:
    """Whose checkpoint it is."""

    study: str
    work: str
    """The trial slot by its number, or a auxiliary run by its name."""

    def header(self, digest: str, step: int) -> bytes:
        """The first line of a file."""
        words = (_MAGIC, _VERSION, digest, quote(self.study, safe=""), self.work, str(step))
        return " ".join(words).encode() + b"\n"


def serialised(value: object) -> memoryview:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getbuffer()


def weights_of(data: bytes) -> dict[str, torch.Tensor]:
    """The weights in a file of `serialised` ones, on the CPU. Raises what torch raises."""
    state: dict[str, torch.Tensor] = torch.load(
        io.BytesIO(data), weights_only=True, map_location="cpu"
    )
    return state


def encode(state: Mapping[str, Any], identity: Identity, step: int) -> Parts:
    """A checkpoint as the contents of a file."""
    payload = serialised(dict(state))
    return identity.header(_digest(identity, step, payload), step), payload


def decode(data: bytes, identity: Identity) -> dict[str, Any]:
    """What `encode` was given, on the CPU.

    Raises Damaged when the file was cut or changed, is not a checkpoint, or is of other work.
    Nothing of it is unpickled before its checksum is right, and then plain values alone.
    """
    end = data.find(b"\n", 0, _LONGEST_HEADER)
    words = data[: max(end, 0)].decode("ascii", "replace").split(" ")
    if len(words) != 6 or words[0] != _MAGIC or not words[5].isdigit():
        raise Damaged("it is not a checkpoint of lrsearch")
    if words[1] != _VERSION:
        raise Damaged(f"another version of lrsearch has written it (format {words[1]})")
    digest, step = words[2], int(words[5])
    if data[: end + 1] != identity.header(digest, step):
        raise Damaged("it belongs to another study or trial")
    payload = memoryview(data)[end + 1 :]
    if _digest(identity, step, payload) != digest:
        raise Damaged("its checksum is wrong")
    try:
        state = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    except Exception as error:
        raise Damaged(f"torch cannot read it: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict):
        raise Damaged("it holds no state")
    return state


def _digest(identity: Identity, step: int, payload: memoryview) -> str:
    found = hashlib.sha256(identity.header("", step))
    found.update(payload)
    return found.hexdigest()
