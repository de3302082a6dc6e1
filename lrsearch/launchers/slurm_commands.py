"""The commands of SLURM: what squeue says of jobs, and how srun and sbatch are called."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrsearch.errors import UserError

_ANSWER_SECONDS = 60.0
"""Seconds within which SLURM answers a command."""


@dataclass(frozen=True)
class Queued:
    """A job as squeue shows it."""

    state: str
    exit_code: int | None
    """Exit code of its script, once that has ended by itself."""
    nodes: str
    reason: str


_FIELDS = {"JobArrayID": 40, "State": 20, "exit_code": 12, "NodeList": 80, "Reason": 80}
"""Fields of squeue, and their widths."""


def cluster_name() -> str:
    """Return the name of the cluster to which this machine belongs. Raises UserError."""
    said = run("scontrol", "show", "config")
    if said is None:
        raise UserError("SLURM does not answer: `scontrol show config` fails")
    name = re.search(r"^ClusterName\s*=\s*(\S+)", said, re.MULTILINE)
    return name[1] if name else ""


def queued_jobs(user: str) -> dict[str, Queued] | None:
    """Return a user's jobs by their ids, also those that have just ended; None without answer."""
    fields = ",".join(f"{name}:{width}" for name, width in _FIELDS.items())
    whose = f"--user={user}"
    said = run("squeue", "--noheader", "--array", "--states=all", whose, f"--Format={fields}")
    if said is None:
        return None
    jobs = {}
    for line in said.splitlines():
        values, start = [], 0
        for width in _FIELDS.values():
            values.append(line[start : start + width].strip())
            start += width
        job_id, state, status, nodes, reason = values
        jobs[job_id] = Queued(state, _exit_code(status), nodes, reason)
    return jobs


def _exit_code(status: str) -> int | None:
    """Return the exit code in a wait status; None for a signal."""
    with contextlib.suppress(ValueError):
        if os.WIFEXITED(int(status)):
            return os.WEXITSTATUS(int(status))
    return None


@contextlib.contextmanager
def environment_of_jobs(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables within the block, which sbatch and srun pass on to the job.

    Within a job those of that job are left out: they would shape the new one.
    """
    before = dict(os.environ)
    if "SLURM_JOB_ID" in before:
        for name in before:
            if name.startswith(("SLURM_", "SLURMD_")) and name != "SLURM_CONF":
                del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def flags(options: Mapping[str, Any]) -> list[str]:
    return [f"--{key}" if v is True else f"--{key}={v}" for key, v in options.items()]


def run(*line: str) -> str | None:
    """Run a command of SLURM and return its output; None where SLURM does not answer.

    Raises UserError where this machine does not have the command.
    """
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=_ANSWER_SECONDS)
    except FileNotFoundError:
        raise UserError(
            f"there is no {line[0]} here, which shows and ends the jobs of SLURM: use a machine "
            f"of the cluster"
        ) from None
    except subprocess.TimeoutExpired:
        return None
    return None if done.returncode else done.stdout


def run_interruptibly(line: Sequence[str]) -> tuple[int, str]:
    """Run srun; where the wait is interrupted, cancel its job. Return exit code and output."""
    with subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.terminate()
            raise
    return process.returncode, said
