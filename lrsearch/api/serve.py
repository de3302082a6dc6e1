"""A worker in the caller's process, for engines that have processes or threads of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from lrsearch.cli.locations import read_locations
from lrsearch.errors import UserError
from lrsearch.workers import service
from lrsearch.workers.assignment import Assignment
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.locations import Locations
from lrsearch.workers.stop import Stop

_POLL = 0.2
"""Seconds between two calls of a function that says whether to stop."""
_serving = threading.Lock()
"""Held during a call: trainings beside each other in one process would share its generators."""


def serve(
    url: str | None = None,
    *,
    sweeps: str | Sequence[str] = (),
    until_empty: bool = True,
    stop: Callable[[], bool] | threading.Event | None = None,
    checkpoints: str | None = None,
    data: Mapping[str, str] | None = None,
    output_dir: str = "outputs",
    idle_timeout: float | None = None,
) -> ExitCode:
    """Serve the studies of a database in this process, as `lrsearch worker` does.

    It installs no signal handlers, and may be called in any thread, one call at a time in a
    process. It writes its log to the logger `lrsearch`, and configures no logging.

    - `url`: the database, such as `postgresql://me@host/lrsearch`; by default that of the commands.
      The password may be in the file that LRSEARCH_STORAGE_PASSWORD_FILE names.
    - `sweeps`: the names of the studies to serve; all by default.
    - `until_empty`: return when nothing is left that this process can do; otherwise it waits for
      more work.
    - `stop`: an event, or a function that is called after each training step and while there is no
      work. Once it is set, or true, the running trial is handed back, and the call returns.
    - `checkpoints`: folder or URL of the checkpoints; by default that of the study.
    - `data`: `root` and `cache` of the data on this machine, where they differ from those of the
      study.
    - `output_dir`: folder of the logs of scripts.
    - `idle_timeout`: seconds without work after which it returns. In a job of a cluster
      (LRSEARCH_JOB is set) it returns by default as soon as nothing is open and two others are at
      work.

    Ctrl-C in the main thread hands the running trial back, and raises KeyboardInterrupt.

    Returns how it ended: `ExitCode.DONE` (0) where nothing is left to do or others do the rest,
    `HANDED_BACK` (75) where it was stopped and work is left, `REFUSED` (3) where this process can
    do nothing of what is left; the log and the command `status` say why.

    Raises UserError where the arguments are wrong, a study is not there, another call serves in
    this process, or the database does not let it in, and LrsearchError where the database does not
    answer for `queue.patience` seconds.
    """
    names = (sweeps,) if isinstance(sweeps, str) else tuple(sweeps)
    given = {
        "storage.url": url,
        "storage.checkpoints": checkpoints,
        **{f"data.{key}": value for key, value in (data or {}).items()},
    }
    words = [f"{key}={value}" for key, value in given.items() if value is not None]
    found, _ = read_locations(words)
    locations = Locations(found.url, found.checkpoints, output_dir, found.data)
    if not _serving.acquire(blocking=False):
        raise UserError("serve: another call serves in this process; start more processes instead")
    try:
        return service.serve(
            locations, Assignment(names, until_empty, idle_timeout), _stop_of(stop)
        )
    finally:
        _serving.release()


def _stop_of(stop: Callable[[], bool] | threading.Event | None) -> Stop:
    if stop is None:
        stop = threading.Event()
    if isinstance(stop, threading.Event):
        return Stop(stop.is_set, stop.wait, owns_process=False, is_interruptible=True)
    is_set = stop

    def wait(seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not is_set() and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _POLL))
        return is_set()

    return Stop(is_set, wait, owns_process=False, is_interruptible=True)
