"""TensorBoard: a folder of events for each trial."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lrsearch.loggers import LoggedTrial

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def _folder(folder: str, study: str) -> Path:
    return Path(folder).expanduser() / study / "tensorboard"


class Log:
    """Writes a trial to FOLDER/STUDY/tensorboard/trial-NUMBER."""

    @classmethod
    def prepare(cls, study: str, folder: str) -> None:
        """Create the study's folder. Raises OSError."""
        _folder(folder, study).mkdir(parents=True, exist_ok=True)

    def __init__(self, trial: LoggedTrial, folder: str) -> None:
        self._trial = trial
        self._folder = _folder(folder, trial.study) / f"trial-{trial.number:04}"
        self._writer: SummaryWriter | None = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log an evaluation, and flush it so that an open TensorBoard shows it at once."""
        writer = self._opened(step)
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    def end(self, outcome: str, metric: str, value: float | None) -> None:
        """Log the recipe and the trial's value to the table of hyperparameters."""
        values = {} if value is None else {f"hparams/{metric}": value}
        hparams = {**self._trial.hparams, "outcome": outcome}
        self._opened(0).add_hparams(hparams, values, run_name=".")

    def close(self) -> None:
        """Close the file of events."""
        if self._writer is not None:
            self._writer.close()

    def _opened(self, step: int) -> SummaryWriter:
        """Return the writer, opened at the first call.

        Opening it voids what an earlier attempt wrote from `step` on, since this one repeats it.
        """
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            purge = None if self._trial.is_new else step
            self._writer = SummaryWriter(self._folder, purge_step=purge)
        return self._writer
