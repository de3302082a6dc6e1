"""The checkpoint file: a header line with its owner and checksum, then the output of torch.save."""

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
"""The contents of a file in pieces, so that large ones need not be copied into one buffer."""


class Damaged(Exception):
    """A file is not the checkpoint that was saved; the message gives the reason."""


@dataclass(frozen=True)
class Identity:
    """The study and the trial slot or auxiliary run that a checkpoint belongs to."""

    study: str
    work: str
    """The number of the trial slot, or the name of the auxiliary run."""

    def header(self, digest: str, step: int) -> bytes:
        """The first line of a checkpoint file with this payload digest and optimizer step."""
        words = (_MAGIC, _VERSION, digest, quote(self.study, safe=""), self.work, str(step))
        return " ".join(words).encode() + b"\n"


def serialised(value: object) -> memoryview:
    """The bytes that torch.save writes for a value."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getbuffer()


def encode(state: Mapping[str, Any], identity: Identity, step: int) -> Parts:
    """The contents of the checkpoint file of a state at an optimizer step."""
    payload = serialised(dict(state))
    return identity.header(_digest(identity, step, payload), step), payload


def decode(data: bytes, identity: Identity) -> dict[str, Any]:
    """The state that `encode` wrote, on the CPU.

    Raises Damaged when the file was truncated or changed, is not a checkpoint, or belongs to
    another study, trial slot or auxiliary run. The payload is unpickled only after its checksum is
    verified, and with `weights_only=True`.
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
    """The sha256 of the header without its digest, and of the payload."""
    digest = hashlib.sha256(identity.header("", step))
    digest.update(payload)
    return digest.hexdigest()
