"""The checkpoints of all trainings of a study, and the weights of its best trials."""

from __future__ import annotations

import logging
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from lrsearch.checkpoints.format import Identity, decode, encode
from lrsearch.checkpoints.locations import TEMPORARY, open_location
from lrsearch.checkpoints.pace import SHARE
from lrsearch.checkpoints.weights import SUFFIX, weights_from_bytes, weights_to_bytes
from lrsearch.errors import UserError

if TYPE_CHECKING:
    import torch

_KEPT = 2
"""Number of checkpoint files kept of a training: the newest, and one in case it is damaged."""
_CHECKPOINT = re.compile(r"step-\d+\.ckpt")
_CONFIRMED = "confirmed"
_WEIGHTS = re.compile(rf"trial-(\d+){re.escape(SUFFIX)}")

_log = logging.getLogger(__name__)


class Checkpoints(Protocol):
    """The checkpoints of one trial slot or auxiliary run. None of the methods raises."""

    @property
    def folder(self) -> str:
        """A path or URL for files of the user's own code; the folder may not exist yet."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Save plain values and tensors; `state["step"]` is the optimizer step."""

    def load(self) -> dict[str, Any] | None:
        """The newest undamaged state, on the CPU; None if there is none."""

    def clear(self) -> None:
        """Delete all checkpoints, and the files in `folder`."""


class NoCheckpoints:
    """Save nothing; for trainings that are never resumed."""

    def __init__(self) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def folder(self) -> str:
        """A temporary folder, which is removed with this object."""
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="lrsearch-")
        return self._temporary.name

    def save(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""

    def load(self) -> dict[str, Any] | None:
        """Return None: nothing is ever saved."""
        return None

    def clear(self) -> None:
        """Delete the temporary folder."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None


class Store:
    """The storage location of all studies of a database, shared by their workers.

    If a file cannot be written, warn once and let the training go on. After a failure saving pauses
    for so long that failed attempts take at most the share `pace.SHARE` of the time.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Open a path or URL. Raises UserError if it cannot be used on this machine."""
        self.location = open_location(url)
        self._clock = clock
        self._wait_until = -float("inf")
        self._warned = False

    def trial_slot(self, study: str, number: int) -> Checkpoints:
        """The checkpoints of one trial slot."""
        return FolderCheckpoints(
            self, Identity(study, str(number)), f"{_folder(study)}/unit-{number:06d}"
        )

    def auxiliary_run(self, study: str, kind: str, number: int) -> Checkpoints:
        """The checkpoints of one auxiliary run."""
        name = f"{kind}-{number:06d}"
        return FolderCheckpoints(self, Identity(study, name), f"{_folder(study)}/{name}")

    def keep_weights(self, study: str, trial: int, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Write the weights of a trial to a safetensors file; see `checkpoints.weights`."""
        self._keep(_weights(study, trial), state_dict)

    def _keep(self, path: str, state_dict: Mapping[str, torch.Tensor]) -> None:
        def keep() -> None:
            self.location.write(path, [weights_to_bytes(state_dict)])

        self.attempt(keep, always=True)

    def kept(self, study: str) -> list[int]:
        """The sorted numbers of the trials whose weights are kept."""
        names = self._names(f"{_folder(study)}/weights")
        return sorted(int(match[1]) for name in names if (match := _WEIGHTS.fullmatch(name)))

    def weights(self, study: str, trial: int) -> str:
        """The path or URL of the weights of a trial, whether the file exists or not."""
        return self.location.where(_weights(study, trial))

    def drop_weights(self, study: str, trials: Iterable[int]) -> None:
        """Delete the weights of these trials, where they exist."""
        for trial in trials:
            self.attempt(partial(self.location.delete, _weights(study, trial)), always=True)

    def keep_confirmed(self, study: str, run: int, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Write the weights of a confirmation run to a safetensors file."""
        self._keep(_confirmed(study, run), state_dict)

    def confirmed(self, study: str, run: int) -> dict[str, torch.Tensor] | None:
        """The weights of a confirmation run, on the CPU; None if they cannot be read."""
        states: list[dict[str, torch.Tensor]] = []
        self.attempt(
            lambda: states.append(weights_from_bytes(self.location.read(_confirmed(study, run)))),
            always=True,
        )
        return states[0] if states else None

    def drop_confirmed(self, study: str, keep: Collection[int]) -> None:
        """Delete the weights of all confirmation runs except those in `keep`."""
        folder = f"{_folder(study)}/{_CONFIRMED}"
        kept = {_confirmed(study, run) for run in keep}
        for path in {f"{folder}/{name}" for name in self._names(folder)} - kept:
            self.attempt(partial(self.location.delete, path), always=True)

    def _names(self, folder: str) -> list[str]:
        """The names in a folder; empty where it cannot be listed."""
        names: list[str] = []
        self.attempt(lambda: names.extend(self.location.names(folder)), always=True)
        return names

    def delete(self, study: str) -> None:
        """Delete all files of a study. Raises UserError if that fails."""
        try:
            self.location.delete_folder(_folder(study))
        except Exception as error:
            where = self.location.where(_folder(study))
            raise UserError(f"{where} cannot be deleted: {reason(error)}") from error

    def probe(self) -> float:
        """Write a small file, read it back and delete it; return the seconds it took.

        Raises UserError with the reason if one of these fails.
        """
        started = self._clock()
        name, written = f".probe-{secrets.token_hex(8)}", secrets.token_bytes(64)
        try:
            self.location.write(name, [written])
            read = self.location.read(name)
            self.location.delete(name)
        except Exception as error:
            raise UserError(
                f"storage.checkpoints: {self.location.where('')} cannot be written and read: "
                f"{reason(error)}"
            ) from error
        if read != written:
            raise UserError(
                f"storage.checkpoints: {self.location.where('')} gives back other bytes than it got"
            )
        return self._clock() - started

    def attempt(self, action: Callable[[], None], always: bool = False) -> None:
        """Do a file operation; if it fails, log one warning and skip operations for a while.

        With `always`, do it even during that pause.
        """
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
                    self.location.where(""),
                    reason(error),
                )
            self._warned = True


class FolderCheckpoints:
    """The checkpoints of one training, in a folder of its own; the newest two files are kept."""

    def __init__(self, store: Store, identity: Identity, folder: str) -> None:
        self._store, self._location = store, store.location
        self._identity, self._folder = identity, folder
        self._files: list[str] = []
        """Names of the existing checkpoint files, the newest undamaged one last."""

    @property
    def folder(self) -> str:
        return self._location.where(f"{self._folder}/own")

    def save(self, state: Mapping[str, Any]) -> None:
        self._store.attempt(lambda: self._save(state))

    def _save(self, state: Mapping[str, Any]) -> None:
        step = int(state["step"])
        name = f"{self._folder}/step-{step:012d}.ckpt"
        self._location.write(name, encode(state, self._identity, step))
        files = [*(file for file in self._files if file != name), name]
        self._files = files[-_KEPT:]
        for old in files[:-_KEPT]:
            self._location.delete(old)

    def load(self) -> dict[str, Any] | None:
        names: list[str] = []
        self._store.attempt(lambda: names.extend(self._location.names(self._folder)), always=True)
        for name in names:
            if name.startswith(TEMPORARY):  # left by a worker that died while it wrote
                self._store.attempt(partial(self._location.delete, f"{self._folder}/{name}"))
        self._files = [f"{self._folder}/{name}" for name in names if _CHECKPOINT.fullmatch(name)]
        for name in reversed(self._files):
            try:
                state = decode(self._location.read(name), self._identity)
            except Exception as error:  # noqa: BLE001 - Damaged, or what the file system raises
                _log.warning(
                    "the checkpoint %s is not used: %s", self._location.where(name), reason(error)
                )
                continue
            # Unreadable files come first now, so that the next saves delete them.
            self._files = [*(file for file in self._files if file != name), name]
            return state
        return None

    def clear(self) -> None:
        self._files = []
        self._store.attempt(lambda: self._location.delete_folder(self._folder), always=True)


def reason(error: BaseException) -> str:
    """The first line of an error, without the path of an OSError; its type if it has no text."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.strip().partition("\n")[0] or type(error).__name__


def _folder(study: str) -> str:
    if study in ("", ".", "..") or "/" in study:
        raise ValueError(f"{study!r} cannot name a folder")
    return study


def _confirmed(study: str, run: int) -> str:
    return f"{_folder(study)}/{_CONFIRMED}/run-{run:06d}{SUFFIX}"


def _weights(study: str, trial: int) -> str:
    return f"{_folder(study)}/weights/trial-{trial:06d}{SUFFIX}"
