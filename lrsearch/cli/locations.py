"""`worker`, and the locations of database, checkpoints and data on this machine.

It imports little, because every worker starts with it.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from lrsearch.config.secrets import check_credentials
from lrsearch.config.storage import DEFAULT_URL, STORAGE, storage_url
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.own_code import provided
from lrsearch.text.hints import unknown
from lrsearch.workers.assignment import Assignment
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.heartbeat import keep_touching
from lrsearch.workers.locations import Locations
from lrsearch.workers.stop import Stop, stop_on_signals

LOCATIONS = {
    "storage.url": STORAGE,
    "storage.checkpoints": "LRSEARCH_CHECKPOINTS",
    "data.root": "LRSEARCH_DATA",
    "data.cache": "LRSEARCH_CACHE",
}
"""The keys of locations, each with the environment variable that gives its default."""
NAME = "study.name"


def read_locations(arguments: Sequence[str]) -> tuple[Locations, list[str]]:
    """Read the locations from `key=value` and the environment; return them and the names.

    `study.name=NAME` gives a name that looks like an option or a setting. Raises ConfigErrors.
    """
    given = {key: os.environ[name] for key, name in LOCATIONS.items() if name in os.environ}
    problems: list[str] = []
    names = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            names.append(argument)
        elif key in LOCATIONS:
            given[key] = value
        elif key == NAME:
            names.append(value)
        elif key.lstrip("+") == "sweep":
            problems.append(f"{argument} chooses a sweep to run; did you mean the study {value}?")
        else:
            problems.append(unknown(key, [*LOCATIONS, NAME]))
    check_credentials(given.get("storage.checkpoints"), "storage.checkpoints", problems)
    url = storage_url({"url": given.get("storage.url", DEFAULT_URL)}, problems)
    if problems:
        raise ConfigErrors(problems)
    data = {key.removeprefix("data."): given[key] for key in given if key.startswith("data.")}
    return Locations(url, given.get("storage.checkpoints"), data=data), names


def output_folder(arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """Split the folder of `output_dir=...` from the other arguments."""
    folder, rest = "outputs", []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key == "output_dir":
            folder = value
        else:
            rest.append(argument)
    return Path(folder), rest


def serve_studies(
    arguments: Sequence[str],
    assignment: Assignment,
    parent: int | None,
    heartbeat: int | None,
    heartbeat_file: Path | None,
    number: int | None,
    count: str | None,
) -> ExitCode:
    """Run the command `worker`; return the exit code of this process. Raises UserError.

    `parent` and `heartbeat` are the process id and the pipe of the process that has started this
    one, which calls it by its `number`.
    """
    stop = stop_on_signals(parent, heartbeat)  # first of all: what follows takes seconds
    if heartbeat_file is not None:
        keep_touching(heartbeat_file)
    outputs, arguments = output_folder(arguments)
    locations, names = read_locations(arguments)
    locations = dataclasses.replace(locations, outputs=str(outputs))
    if names:
        raise UserError(f"{names[0]!r}: to serve one study alone give --sweep {names[0]}")
    name = "" if number is None else f"worker {number}: "
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s %(levelname)s {name}%(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if count is not None:
        return _serve_node(count, locations, assignment, stop)
    from lrsearch.launchers.pickled import unpickled
    from lrsearch.storage.database import open_existing
    from lrsearch.storage.sqlite import file_of
    from lrsearch.workers.service import serve

    # On a server a worker may start before the first sweep.
    if file_of(locations.url) is not None:
        open_existing(locations.url).close()

    with provided(unpickled()):
        return serve(locations, assignment, stop)


def _serve_node(count: str, locations: Locations, assignment: Assignment, stop: Stop) -> ExitCode:
    """Run as many workers as `count` says, a number or `auto`. Raises UserError."""
    from lrsearch.launchers.node import Node
    from lrsearch.workers.device_slots import device_slots

    if count != "auto" and not (count.isdecimal() and int(count) > 0):
        raise UserError(f"--count {count}: give a number of workers, from 1 on, or auto")
    given = {
        "storage.url": locations.url,
        "storage.checkpoints": locations.checkpoints,
        **{f"data.{key}": value for key, value in locations.data.items()},
    }
    # In the environment, since the URL may hold a password.
    environment = {LOCATIONS[key]: value for key, value in given.items() if value is not None}
    slots = device_slots(count, device="auto", threads=1)
    words = ["worker", *assignment.options(), f"output_dir={locations.outputs}"]
    return Node(slots, words, environment, stop).run()
