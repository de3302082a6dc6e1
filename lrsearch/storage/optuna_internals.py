"""All private names of Optuna that lrsearch uses.

Optuna has no public way to write a trial in a transaction of the caller's, or to read the trials of
a study by columns. pyproject.toml holds Optuna at the minor version that the tests of this module
know; CONTRIBUTING.md says how to allow a newer one.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from optuna.artifacts._protocol import ArtifactStore
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX, ArtifactMeta
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import Study
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY as CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState

__all__ = [
    "ARTIFACTS_ATTR_PREFIX",
    "COMPLETE_UTC",
    "CONSTRAINTS_KEY",
    "START_UTC",
    "ArtifactMeta",
    "ArtifactStore",
    "TrialReadingStorage",
    "id_of_study",
    "id_of_trial",
    "models",
    "set_parameter",
]

START_UTC = models.TrialModel._datetime_start_utc
"""Column of a trial's start, in UTC."""
COMPLETE_UTC = models.TrialModel._datetime_complete_utc
"""Column of a trial's end, in UTC."""


def id_of_trial(trial: FrozenTrial) -> int:
    """Return a trial's id in the storage, which is not its number in the study."""
    return trial._trial_id


def id_of_study(study: Study) -> int:
    """Return a study's id in the storage."""
    return study._study_id


def set_parameter(
    trial: FrozenTrial, name: str, value: Any, distribution: BaseDistribution
) -> None:
    """Set a parameter of a trial in memory, as Optuna does for a running trial."""
    trial._distributions[name] = distribution
    trial._params[name] = value


class TrialReadingStorage(RDBStorage):
    """Optuna's storage in a database, with another way to read the trials of a study."""

    def __init__(self, url: str, **options: Any) -> None:
        try:
            super().__init__(url, **options)
        except BaseException:
            # Where its tables cannot be read, such as for want of a connection.
            if hasattr(self, "engine"):
                self.engine.dispose()
            raise

    def read_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Return trials by their ids: those above one id, and some of the others.

        Raises KeyError where there is no such study.
        """
        raise NotImplementedError

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        return self.read_trials(study_id, states, included_trial_ids, trial_id_greater_than)
