"""The command line of a worker that a launcher starts."""

from __future__ import annotations

from lrsearch.launchers.base import Sweep


def worker_arguments(sweep: Sweep, *options: str) -> list[str]:
    """Return the words after `python -m lrsearch` of a worker that serves the sweep to its end."""
    name = ("--sweep", sweep.name)
    return ["worker", *name, "--until-empty", *options, f"output_dir={sweep.locations.outputs}"]


def worker_environment(sweep: Sweep) -> dict[str, str]:
    """Return the environment variables of a worker on this machine, besides those of this process.

    The URL holds the password: it goes to processes of the same user alone, and never into a
    command line, which all users of the machine can read.
    """
    locations = sweep.locations
    checkpoints = {"LRSEARCH_CHECKPOINTS": locations.checkpoints} if locations.checkpoints else {}
    return {"LRSEARCH_STORAGE": locations.url, **checkpoints, **sweep.environment}
