"""Where the trials of a study keep their checkpoints, and the best ones their weights."""

from __future__ import annotations

import logging
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from lrsearch.checkpoints.format import Identity, decode, encode, serialised, weights_of
from lrsearch.checkpoints.pace import SHARE
from lrsearch.checkpoints.places import TEMPORARY, open_place
from lrsearch.errors import UserError

if TYPE_CHECKING:
    import torch

_KEPT = 2
"""Files of a unit: the newest, and the one before in case it is damaged."""
_CHECKPOINT = re.compile(r"step-\d+\.ckpt")
_CONFIRMED = "confirmed"
_WEIGHTS = re.compile(r"trial-(\d+)\.pt")

_log = logging.getLogger(__name__)


class Checkpoints(Protocol):
    """The checkpoints of one trial slot or auxiliary run. None of the methods raises."""

    @property
    def folder(self) -> str:
        """A path, or a URL, for files of the user's own; nobody has made it yet."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Saves plain values and tensors; `state["step"]` is the optimizer step."""

    def load(self) -> dict[str, Any] | None:
        """The newest state that is undamaged, on the CPU; None when there is none."""

    def clear(self) -> None:
        """Deletes them all, and the user's own files."""


class NoCheckpoints:
    """Keeps nothing, for trainings that nobody takes over."""

    def __init__(self) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def folder(self) -> str:
        """A temporary one, which goes with this object."""
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="lrsearch-")
        return self._temporary.name

    def save(self, state: Mapping[str, Any]) -> None:
        """Does nothing."""

    def load(self) -> dict[str, Any] | None:
        """None."""
        return None

    def clear(self) -> None:
        """Deletes the temporary folder."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None


class Store:
    """A folder or a URL that all workers of a database share.

    Where it takes no files, there is one warning and training goes on; it is tried again as often
    as costs a fiftieth of the time.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises UserError where the URL cannot be used on this machine."""
        self.place = open_place(url)
        self._clock = clock
        self._wait_until = -float("inf")
        self._warned = False

    def unit(self, study: str, number: int) -> Checkpoints:
        """The checkpoints of one unit."""
        return FolderCheckpoints(
            self, Identity(study, str(number)), f"{_folder(study)}/unit-{number:06d}"
        )

    def side_run(self, study: str, kind: str, number: int) -> Checkpoints:
        """The checkpoints of one auxiliary run."""
        name = f"{kind}-{number:06d}"
        return FolderCheckpoints(self, Identity(study, name), f"{_folder(study)}/{name}")

    def keep_weights(self, study: str, trial: int, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Keeps the final weights of a trial, as a file for torch.load."""
        self._keep(_weights(study, trial), state_dict)

    def _keep(self, path: str, state_dict: Mapping[str, torch.Tensor]) -> None:
        def keep() -> None:
            on_cpu = {name: tensor.cpu() for name, tensor in state_dict.items()}
            self.place.write(path, [serialised(on_cpu)])

        self.attempt(keep, always=True)

    def kept(self, study: str) -> list[int]:
        """The trials whose weights are kept, by number."""
        found: list[str] = []
        self.attempt(
            lambda: found.extend(self.place.names(f"{_folder(study)}/weights")), always=True
        )
        return sorted(int(match[1]) for name in found if (match := _WEIGHTS.fullmatch(name)))

    def weights(self, study: str, trial: int) -> str:
        """Where the weights of a trial are kept, if they are: a path or a URL."""
        return self.place.where(_weights(study, trial))

    def drop_weights(self, study: str, trials: Iterable[int]) -> None:
        """Deletes the weights of trials, where there are any."""
        for trial in trials:
            self.attempt(partial(self.place.delete, _weights(study, trial)), always=True)

    def keep_confirmed(self, study: str, run: int, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Keeps the final weights of a run of the confirmation."""
        self._keep(_confirmed(study, run), state_dict)

    def confirmed(self, study: str, run: int) -> dict[str, torch.Tensor] | None:
        """The weights of a run of the confirmation, on the CPU; None where they are not there."""
        found: list[dict[str, torch.Tensor]] = []
        self.attempt(
            lambda: found.append(weights_of(self.place.read(_confirmed(study, run)))), always=True
        )
        return found[0] if found else None

    def drop_confirmed(self, study: str, keep: Collection[int]) -> None:
        """Deletes the weights of the confirmation's runs but these."""
        folder = f"{_folder(study)}/{_CONFIRMED}"
        found: list[str] = []
        self.attempt(lambda: found.extend(self.place.names(folder)), always=True)
        kept = {_confirmed(study, run) for run in keep}
        for path in {f"{folder}/{name}" for name in found} - kept:
            self.attempt(partial(self.place.delete, path), always=True)

    def delete(self, study: str) -> None:
        """Deletes all that is kept of a study. Raises UserError where that fails."""
        try:
            self.place.delete_folder(_folder(study))
        except Exception as error:
            where = self.place.where(_folder(study))
            raise UserError(f"{where} cannot be deleted: {reason(error)}") from error

    def probe(self) -> float:
        """Writes a small file, reads it back and deletes it; seconds that took.

        Raises UserError with the reason where that fails.
        """
        started = self._clock()
        name, written = f".probe-{secrets.token_hex(8)}", secrets.token_bytes(64)
        try:
            self.place.write(name, [written])
            found = self.place.read(name)
            self.place.delete(name)
        except Exception as error:
            raise UserError(
                f"storage.checkpoints: {self.place.where('')} cannot be written and read: "
                f"{reason(error)}"
            ) from error
        if found != written:
            raise UserError(
                f"storage.checkpoints: {self.place.where('')} gives back other bytes than it got"
            )
        return self._clock() - started

    def attempt(self, action: Callable[[], None], always: bool = False) -> None:
        """Does something with files; where it fails, warns once and is not asked for a while."""
        started = self._clock()
        if started < self._wait_until and not always:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            now = self._clock()
            self._wait_until = now + (now - started) / SHARE
            if not self._warned:
                _log.warning(
                    "nothing can be kept in %s, training goes on: %s",
                    self.place.where(""),
                    reason(error),
                )
            self._warned = True


class FolderCheckpoints:
    """The checkpoints of one training, in a folder of its own; the last two files are kept."""

    def __init__(self, store: Store, identity: Identity, folder: str) -> None:
        self._store, self._place = store, store.place
        self._identity, self._folder = identity, folder
        self._files: list[str] = []
        """What is there, the best one last."""

    @property
    def folder(self) -> str:
        return self._place.where(f"{self._folder}/own")

    def save(self, state: Mapping[str, Any]) -> None:
        self._store.attempt(lambda: self._save(state))

    def _save(self, state: Mapping[str, Any]) -> None:
        step = int(state["step"])
        name = f"{self._folder}/step-{step:012d}.ckpt"
        self._place.write(name, encode(state, self._identity, step))
        files = [*(one for one in self._files if one != name), name]
        self._files = files[-_KEPT:]
        for old in files[:-_KEPT]:
            self._place.delete(old)

    def load(self) -> dict[str, Any] | None:
        found: list[str] = []
        self._store.attempt(lambda: found.extend(self._place.names(self._folder)), always=True)
        for name in found:
            if name.startswith(TEMPORARY):  # of a worker that died while it wrote
                self._store.attempt(partial(self._place.delete, f"{self._folder}/{name}"))
        self._files = [f"{self._folder}/{one}" for one in found if _CHECKPOINT.fullmatch(one)]
        for name in reversed(self._files):
            try:
                state = decode(self._place.read(name), self._identity)
            except Exception as error:  # noqa: BLE001 - Damaged, or what the file system raises
                _log.warning(
                    "the checkpoint %s is not used: %s", self._place.where(name), reason(error)
                )
                continue
            # The next save but one takes away those that could not be read.
            self._files = [*(one for one in self._files if one != name), name]
            return state
        return None

    def clear(self) -> None:
        self._files = []
        self._store.attempt(lambda: self._place.delete_folder(self._folder), always=True)


def reason(error: BaseException) -> str:
    """What went wrong, in a line without a path or a URL where the system says it."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.strip().partition("\n")[0] or type(error).__name__


def _folder(study: str) -> str:
    if study in ("", ".", "..") or "/" in study:
        raise ValueError(f"{study!r} cannot name a folder")
    return study


def _confirmed(study: str, run: int) -> str:
    return f"{_folder(study)}/{_CONFIRMED}/run-{run:06d}.pt"


def _weights(study: str, trial: int) -> str:
    return f"{_folder(study)}/weights/trial-{trial:06d}.pt"
