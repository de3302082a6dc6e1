"""Workers as jobs of SLURM, which are queued again until nothing is left.

submitit writes and submits the job arrays. Its own way to requeue is not used: it pickles a
function's state in place of our checkpoints, counts time limits, and stops after a number of them.
Here the job's script decides by the worker's exit code (`_TEARDOWN`), so that a sweep goes on
without the process that started it. The states of jobs come from squeue: submitit asks sacct, which
needs accounting.
"""

from __future__ import annotations

import contextlib
import getpass
import math
import re
import secrets
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lrsearch.config.storage import PASSWORD_FILE, command_on
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.files import removed_if_empty, write_private
from lrsearch.launchers.base import Job, JobState, News, Sweep, WorkersFailed
from lrsearch.launchers.command_line import worker_arguments
from lrsearch.launchers.early_deaths import EarlyDeaths, tail
from lrsearch.launchers.remote import unreachable, without_password
from lrsearch.launchers.slurm_commands import (
    Queued,
    cluster_name,
    environment_of_jobs,
    flags,
    queued_jobs,
    run,
    run_interruptibly,
)
from lrsearch.launchers.slurm_job import become_worker
from lrsearch.queue.jobs import VARIABLE, Jobs
from lrsearch.settings import RuntimeSettings, Settings
from lrsearch.states import WorkState
from lrsearch.storage.tables import JobRow
from lrsearch.text.formatting import plural
from lrsearch.text.redaction import redacted
from lrsearch.text.shell import name_word
from lrsearch.workers.abilities import needs_gpu
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.locations import logs_of

_POLL_SECONDS = 5.0
"""Shortest time between two calls of squeue."""
_LARGEST_ARRAY = 1000
"""Most jobs of an array: the default of SLURM's MaxArraySize."""
_SIGNAL = "USR1@120"
"""The signal before a job's time limit, and how many seconds before it."""
_EARLY_SECONDS = 60
"""Seconds that SLURM may send the signal too early (man sbatch, --signal)."""
_CHECK_MINUTES = 10
"""Time limit of the check on a node."""
_MOST_DEATHS = 3
"""Deaths of a job's worker after which the job is not queued again."""
_TIME = re.compile(r"\d+(:\d\d(:\d\d)?)?|\d+-\d+(:\d\d(:\d\d)?)?")

_ENDED = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "REVOKED", "TIMEOUT",
})  # fmt: skip
"""States of jobs that have ended for good."""
_USUAL_REASONS = frozenset({
    "None", "Priority", "Resources", "BeginTime", "JobArrayTaskLimit", "Cleaning",
})  # fmt: skip
"""Reasons for which any job waits at times."""

_SETUP = [
    f"export {VARIABLE}=slurm/${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}"
    "${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}",
    "trap : TERM  # at the time limit this script lives on for a while",
]
_TEARDOWN = """\
code=$?
again=unknown
job=${{{variable}#slurm/}}  # $SLURM_JOB_ID of one job of an array names the whole array, too
# A job that is cancelled or preempted is completing by now, and must not be queued again from here.
for attempt in 1 2 3 4 5; do
    state=$(squeue --noheader --jobs="$job" --format="%T %r") && break
    sleep 5
done
case "$state" in
    *TimeLimit) again=yes ;;  # its worker had no time to hand its work back
    RUNNING*)
        case $code in
            {final}) again=no ;;
            {handed_back}) again=yes ;;
            *)
                echo "exit code $code" >> {deaths}
                if [ "$(wc -l < {deaths})" -lt {most_deaths} ]; then again=yes; else again=no; fi ;;
        esac ;;
esac
if [ "$again" = yes ]; then
    scontrol requeue "$job"  # ends this script, and may end scontrol before it returns
elif [ "$again" = no ]; then
    array=$(squeue --noheader --array --jobs="${{job%_*}}" --format=%i)
    [ "$array" != "$job" ] || rm -f {password}
fi
exit "$code"
"""
"""The end of a job's script: whether it is queued again. The last job removes the password."""
_FINAL = (ExitCode.DONE, ExitCode.BAD_INPUT, ExitCode.REFUSED)
"""Exit codes after which a job is not started again."""
_ENDED_BY_SIGNAL = (128 + signal.SIGUSR1, 128 + signal.SIGTERM)
"""Exit codes of a worker that SLURM has ended before it listened for signals."""


class Slurm:
    """Workers as jobs of SLURM. Its arguments are the options of `conf/launcher/slurm.yaml`."""

    name: ClassVar[str] = "slurm"
    outlives: ClassVar[bool] = True

    def __init__(
        self,
        gpus_per_worker: int | str | None = None,
        cpus: int | None = None,
        mem: int | str | None = None,
        time: int | str | None = None,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        setup: Sequence[str] = (),
        extra: Mapping[str, Any] | None = None,
        check: bool = True,
        *,
        cluster: str | None = None,
        user: str | None = None,
    ) -> None:
        """`cluster` and `user` are those of jobs that another process has submitted."""
        self._cluster, self._user = cluster, user or getpass.getuser()
        self._gpus, self._cpus, self._setup = gpus_per_worker, cpus, list(setup)
        self._extra, self._is_checked = extra or {}, check
        self._given = {
            "partition": partition,
            "account": account,
            "qos": qos,
            "constraint": constraint,
            "mem": mem,
            "time": time,
        }
        self._workers = 0
        self._sweep: Sweep
        self._jobs: Jobs
        self._alive: dict[str, Job] = {}
        self._asked_at = -math.inf
        self._is_cancelled: set[str] = set()
        self._is_killed: set[str] = set()
        self._deaths = EarlyDeaths()

    def check(self, settings: Settings, runtime: RuntimeSettings) -> None:
        """Check the options, and by srun whether a node reaches the database and the files.

        Raises UserError.
        """
        train = settings.train
        if self._gpus is None and needs_gpu(settings):
            self._gpus = math.ceil(train.gpus)
        if self._cpus is None:
            self._cpus = train.threads * math.ceil(train.gpus)
        problems = list(self._problems(runtime))
        if problems:
            raise ConfigErrors(problems)
        self._workers = int(runtime.workers)
        self._cluster = cluster_name()
        if self._is_checked and not runtime.dry_run:
            self._check_node(settings, runtime)

    def attach(self, sweep: Sweep) -> None:
        """Set the sweep, and take over its jobs of this user that are still there.

        Raises UserError where the jobs are those of another cluster, which cannot be asked here.
        """
        self._sweep = sweep
        here = cluster_name()
        if self._cluster not in (None, here):
            raise UserError(
                f"the jobs are on the SLURM cluster {self._cluster}, and this machine belongs to "
                f"{here}"
            )
        self._jobs = sweep.jobs(self.name, {"cluster": here, "user": self._user})

    def describe(self) -> str:
        """Return what it starts."""
        gpus = f", GPUs {self._gpus}" if self._gpus else ""
        where = f" in {partition}" if (partition := self._given["partition"]) else ""
        cpus = plural(self._cpus or 1, "core")
        return f"up to {plural(self._workers, 'job')} on SLURM{where}, each with {cpus}{gpus}"

    def most(self) -> int:
        """Return the largest number of jobs at a time."""
        return self._workers

    def start(self, count: int) -> None:
        """Submit `count` more jobs, as one array."""
        for first in range(0, count, _LARGEST_ARRAY):
            self._submit(min(count - first, _LARGEST_ARRAY))

    def watch(self, news: News) -> None:
        """Ask squeue for the jobs every few seconds, and see to those that have ended.

        Raises WorkersFailed.
        """
        if news.ended_well:
            self._deaths.ended_well()
        if time.monotonic() - self._asked_at < _POLL_SECONDS:
            return
        rows = {row.job_id: row for row in self._jobs.rows()}
        queued = queued_jobs(self._user) if rows else {}
        self._asked_at = time.monotonic()
        if queued is None:
            self._sweep.say_once("SLURM does not answer; the jobs go on, waiting for it")
            return
        ended = {
            job_id: queued.get(job_id)
            for job_id in rows
            if job_id not in queued or queued[job_id].state in _ENDED
        }
        self._alive = {
            job_id: _job(row, queued[job_id]) for job_id, row in rows.items() if job_id not in ended
        }
        self._jobs.remove(ended)
        for job_id, last in ended.items():
            self._ended(rows[job_id], last, news.is_stopping)
        for job_id in self._alive:
            self._say_why_it_waits(job_id, queued[job_id])
        if self._alive and not news.is_stopping and not self._is_work_left():
            self._cancel(job.job_id for job in self.alive() if job.state == JobState.WAITING)

    def alive(self) -> Sequence[Job]:
        """Return the jobs that run or wait to run."""
        return list(self._alive.values())

    def stop(self, jobs: Sequence[Job], at_once: bool = False) -> None:
        """Cancel jobs: their workers hand their work back. At once: kill them."""
        job_ids = {job.job_id for job in jobs}
        self._cancel(job_ids)
        others = sorted(job_ids - self._is_killed)
        if at_once and others and run("scancel", "--full", "--signal=KILL", *others) is not None:
            self._is_killed.update(others)
        if self._alive and job_ids >= self._alive.keys():
            self._delete_passwords()

    def close(self) -> None:
        """Delete the password files, if no job will need them."""
        if self._sweep.endings is not None and not (self._alive or self._is_work_left()):
            self._delete_passwords()

    def _is_work_left(self) -> bool:
        work = self._sweep.queue.work()
        return bool(work[WorkState.OPEN] or work[WorkState.RUNNING])

    def _delete_passwords(self) -> None:
        for file in self._folder.glob("password-*"):
            with contextlib.suppress(PermissionError):  # of another user's jobs
                file.unlink(missing_ok=True)

    @property
    def _folder(self) -> Path:
        return self._sweep.logs.absolute() / self.name

    def _problems(self, runtime: RuntimeSettings) -> Iterator[str]:
        """Yield what is wrong with the configuration and this machine."""
        if runtime.workers == "auto":
            yield "workers: on SLURM it must be given, the most jobs at a time: workers=16"
        yield from self._problems_of_the_limit()
        if self._is_checked and (why := unreachable(runtime.storage_url)):
            yield (
                f"storage.url: {why}. The nodes of a cluster must reach it (launcher.check=false "
                f"for a cluster of this machine alone)"
            )
        try:
            without_password(runtime.storage_url)
        except UserError as error:
            yield str(error)
        for program in ("sbatch", "squeue", "scancel", "scontrol", "srun"):
            if shutil.which(program) is None:
                yield f"launcher: there is no {program} here: start the sweep on a login node"
                break
        try:
            import submitit  # noqa: F401
        except ImportError:
            yield "launcher=slurm needs the package submitit: pip install 'lrsearch[slurm]'"

    def _problems_of_the_limit(self) -> Iterator[str]:
        """Yield what is wrong with the time limit: no form of SLURM's, or no time to work in."""
        limit = self._given["time"]
        if limit is None:
            return
        if not _TIME.fullmatch(str(limit)):
            yield (
                f"launcher.time: {limit} is not a limit of SLURM's: minutes, 04:00:00 or 1-12:00:00"
            )
            return
        warning = str(self._extra.get("signal", _SIGNAL))
        if (before := re.search(r"@(\d+)$", warning)) is None:
            return
        if _seconds(str(limit)) <= int(before[1]) + _EARLY_SECONDS:
            yield (
                f"launcher.time: {limit} leaves a worker no time, since SLURM tells it to stop "
                f"{before[1]} s before, and up to {_EARLY_SECONDS} s early: give it more, or "
                f'say "launcher.extra={{signal: USR1@30}}"'
            )

    def _options(self) -> dict[str, Any]:
        """Return the options of sbatch and srun that say what a worker needs."""
        given = {**self._given, "cpus-per-task": self._cpus}
        if self._gpus:
            given["gpus-per-node"] = self._gpus
        extra = {key.replace("_", "-"): value for key, value in self._extra.items()}
        return {key: v for key, v in {**given, **extra}.items() if v not in (None, False)}

    def _check_node(self, settings: Settings, runtime: RuntimeSettings) -> None:
        """Run `lrsearch doctor` on a node. Raises UserError with what it finds."""
        folder = logs_of(runtime.output_dir, settings.study.name).absolute()
        options = {**self._options(), "time": _CHECK_MINUTES, "job-name": "lrsearch-doctor"}
        options.pop("signal", None)
        doctor = [
            *(sys.executable, "-m", "lrsearch", "doctor", "workers=1"),
            *(f"train.device={settings.train.device}", f"output_dir={runtime.output_dir}"),
        ]
        script = "\n".join([
            *self._setup,
            f'[ -d {shlex.quote(str(folder))} ] || {{ echo "$(hostname) has no folder" '
            f"{shlex.quote(str(folder))}: output_dir must be a folder that all nodes share; "
            "exit 1; }",
            f"exec {shlex.join(doctor)}",
        ])  # fmt: skip
        line = ["srun", "--ntasks=1", *flags(options), "bash", "-c", script]
        print("asking a node by `srun lrsearch doctor` (launcher.check=false skips it)", flush=True)
        with removed_if_empty(folder):
            folder.mkdir(parents=True, exist_ok=True)
            password = _password_file(folder)
            try:
                storage = _storage(runtime.storage_url, runtime.checkpoints_url, password)
                with environment_of_jobs(storage):
                    code, said = run_interruptibly(line)
            finally:
                password.unlink(missing_ok=True)
        if code:
            raise UserError(
                f"launcher: a node of the cluster cannot serve the sweep:\n{_faults(said)}\n"
                f"(launcher.check=false skips this check)"
            )

    def _submit(self, count: int) -> None:
        import submitit
        from submitit.core.utils import FailedJobError

        sweep, folder = self._sweep, self._folder
        folder.mkdir(parents=True, exist_ok=True)
        password = _password_file(folder)
        options = {"requeue": True, "signal": _SIGNAL, **self._options()}
        executor = submitit.SlurmExecutor(folder)
        executor.update_parameters(
            job_name="lrsearch-" + re.sub(r"[^\w.-]", "-", sweep.name),
            time=None,  # among the options; submitit's default is 5 minutes
            wckey=None,
            setup=[*_SETUP, *self._setup, "set +e"],
            teardown=_teardown(folder, password),
            stderr_to_stdout=True,
            array_parallelism=count,
            srun_args=[f"--cpus-per-task={self._cpus or 1}"],  # srun does not take over sbatch's
            additional_parameters=options,
        )
        locations = sweep.locations
        environment = _storage(locations.url, locations.checkpoints, password)
        with environment_of_jobs({**environment, **sweep.environment}):
            try:
                jobs = executor.map_array(become_worker, [worker_arguments(sweep)] * count)
            except FailedJobError as error:
                password.unlink(missing_ok=True)
                raise WorkersFailed(f"SLURM takes no jobs: {redacted(str(error))}") from error
        logs = {job.job_id: str(job.paths.stdout) for job in jobs}
        self._jobs.add(logs)
        for job_id, log in logs.items():
            self._alive[job_id] = Job(job_id, JobState.WAITING, log=log)

    def _cancel(self, job_ids: Iterable[str]) -> None:
        others = sorted(set(job_ids) - self._is_cancelled)
        if others and run("scancel", *others) is not None:
            self._is_cancelled.update(others)
        elif others and self._sweep.endings is None:  # nobody will try again
            raise UserError(f"scancel fails: the jobs of {self._user} are not cancelled")

    def _ended(self, row: JobRow, last: Queued | None, is_stopping: bool) -> None:
        """Reclaim the work of a job that has ended for good; say why, where that matters."""
        died = last is not None and last.state in ("FAILED", "OUT_OF_MEMORY")
        code = last.exit_code if last is not None else None
        cannot_work = died and code not in (ExitCode.HANDED_BACK, ExitCode.STALLED)
        work = self._reclaim(row, blame=cannot_work and not is_stopping)
        if last is None or is_stopping or row.job_id in self._is_cancelled:
            return
        if last.state == "COMPLETED":
            return
        log = Path(row.log or "")
        how = last.state.lower() if code is None else f"exit code {code}"
        if cannot_work and (self._deaths.add(work, row.job_id) or code == ExitCode.BAD_INPUT):
            raise WorkersFailed(
                f"the worker of job {row.job_id} on {last.nodes} cannot work ({how}):\n"
                f"{redacted(tail(log))}\n(the whole log: {log})"
            )
        self._sweep.say(f"job {row.job_id} on {last.nodes} has ended ({how}). Its log: {log}")

    def _reclaim(self, row: JobRow, blame: bool) -> set[tuple[str, int]]:
        if row.owner is None:
            return set()
        return self._sweep.reclaim_dead(lambda owner: owner == row.owner, blame)

    def _say_why_it_waits(self, job_id: str, queued: Queued) -> None:
        """Say once for each unusual reason that a job waits for it."""
        if queued.state == "PENDING" and queued.reason not in _USUAL_REASONS:
            name = name_word(self._sweep.name)
            self._sweep.say_once(
                f"SLURM lets jobs wait: {queued.reason} (job {job_id}); "
                f"`{command_on(self._sweep.locations.url, 'status', name)}` shows all",
                queued.reason,
            )


def _seconds(limit: str) -> int:
    """Return the seconds of a time limit, in any of the forms of `sbatch --time`."""
    days, dash, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:  # hours[:minutes[:seconds]]
        hours, minutes, seconds = [*parts, 0, 0][:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    if len(parts) == 3:
        return (parts[0] * 60 + parts[1]) * 60 + parts[2]
    minutes, seconds = [*parts, 0][:2]
    return minutes * 60 + seconds


def _job(row: JobRow, queued: Queued) -> Job:
    runs = queued.state in ("RUNNING", "COMPLETING")
    owner = row.owner.rsplit("/", 1)[0] if runs and row.owner else None
    return Job(
        row.job_id,
        JobState.RUNNING if runs else JobState.WAITING,
        host=queued.nodes or None if runs else None,
        log=row.log,
        owner=owner,
        is_starting=runs and owner is None,
    )


def _teardown(folder: Path, password: Path) -> list[str]:
    """Return the lines of a job's script after the worker."""

    def pattern(*codes: int) -> str:
        return "|".join(str(int(code)) for code in codes)

    return _TEARDOWN.format(
        variable=VARIABLE,
        final=pattern(*_FINAL),
        handed_back=pattern(ExitCode.HANDED_BACK, ExitCode.STALLED, *_ENDED_BY_SIGNAL),
        deaths=f'{shlex.quote(str(folder))}/"$job".deaths',
        most_deaths=_MOST_DEATHS,
        password=shlex.quote(str(password)),
    ).splitlines()


def _password_file(folder: Path) -> Path:
    return folder / f"password-{secrets.token_hex(8)}"


def _storage(url: str, checkpoints: str | None, file: Path) -> dict[str, str]:
    """Write the password of a URL to a file; return the variables that lead a worker to both."""
    plain, password = without_password(url)
    variables = {"LRSEARCH_STORAGE": plain}
    if checkpoints is not None:
        variables["LRSEARCH_CHECKPOINTS"] = checkpoints
    if password is not None:
        write_private(file, f"{password}\n".encode())
        variables[PASSWORD_FILE] = str(file)
    return variables


def _faults(said: str) -> str:
    """Return the problems among the lines of `doctor`; all lines where it has not come so far."""
    lines = redacted(said).strip().splitlines()
    faults = [line for line in lines if line.startswith("problem")]
    return "\n".join(faults or lines[-20:])
