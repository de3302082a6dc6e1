"""MLflow: a run for each trial, in an experiment of the study's name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lrsearch.loggers import LoggedTrial
from lrsearch.states import Outcome

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_TAG = "lrsearch.trial"


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set environment variables within the block, except those that the user has set."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of the experiment of this name; create it if there is none."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return str(client.create_experiment(name))
    return str(experiment.experiment_id)


class Log:
    """Writes a trial to the tracking server in the background: training does not wait for it."""

    @classmethod
    def prepare(cls, study: str, uri: str, experiment: str) -> None:
        """Create the experiment, and the tables of the tracking store if it is a database.

        Raises MLflow's errors.
        """
        from mlflow.tracking import MlflowClient

        # Find out within seconds that a server does not answer: MLflow retries for four minutes.
        with _environment(MLFLOW_HTTP_REQUEST_MAX_RETRIES="1", MLFLOW_HTTP_REQUEST_TIMEOUT="10"):
            _experiment_id(MlflowClient(tracking_uri=uri or None), experiment or study)

    def __init__(self, trial: LoggedTrial, uri: str, experiment: str) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=uri or None)
        self._experiment = _experiment_id(self._client, experiment or trial.study)
        self._tag = f"{trial.study}-{trial.study_id}-{trial.number}"
        earlier = None if trial.is_new else self._earlier()
        self._run = earlier or self._begin(trial)
        self._last = -1 if earlier is None else self._last_step(earlier)
        """Last optimizer step that an earlier attempt has logged."""
        self._pending: list[Any] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log an evaluation, unless an earlier attempt has: its values are the same."""
        from mlflow.entities import Metric

        if step <= self._last:
            return
        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._send(metrics=metrics)

    def end(self, outcome: str, metric: str, value: float | None) -> None:
        """Log the outcome. Pruned and diverged trials get MLflow's status KILLED, errors FAILED."""
        from mlflow.entities import Metric

        self._client.set_tag(self._run, "lrsearch.outcome", outcome)
        if value is not None:
            self._send(metrics=[Metric(f"trial_{metric}", value, int(1000 * time.time()), 0)])
        self.close()
        status = "KILLED"
        if outcome == Outcome.COMPLETE:
            status = "FINISHED"
        elif outcome in (Outcome.FAILED, Outcome.CRASHED):
            status = "FAILED"
        self._client.set_terminated(self._run, status=status)

    def close(self) -> None:
        """Wait for the requests that are under way. Raises their errors."""
        pending, self._pending = self._pending, []
        for operation in pending:
            operation.wait()

    def _send(self, **batch: Any) -> None:
        operation = self._client.log_batch(self._run, **batch, synchronous=False)
        self._pending.append(operation)

    def _begin(self, trial: LoggedTrial) -> str:
        from mlflow.entities import Param

        name = f"trial-{trial.number:04}"
        run = self._client.create_run(self._experiment, run_name=name, tags={_TAG: self._tag})
        params = [Param(key, str(value)) for key, value in trial.hparams.items()]
        self._client.log_batch(run.info.run_id, params=params)
        return str(run.info.run_id)

    def _earlier(self) -> str | None:
        """Return the run of an earlier attempt, set to RUNNING again; None where there is none."""
        query = f"tags.`{_TAG}` = '{self._tag}'"
        for run in self._client.search_runs([self._experiment], query, max_results=1):
            self._client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
        return None

    def _last_step(self, run_id: str) -> int:
        names = self._client.get_run(run_id).data.metrics
        history = self._client.get_metric_history(run_id, "lr") if "lr" in names else []
        return max((metric.step for metric in history), default=-1)
