"""`doctor`: check what a sweep needs, and say what to do."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from lrsearch.cli.compose import load_configuration
from lrsearch.cli.display import make_console
from lrsearch.cli.own_code_calls import command_words
from lrsearch.errors import UserError
from lrsearch.files import removed_if_empty
from lrsearch.objectives import COMMAND, is_command
from lrsearch.objectives.command_line import CommandLine, check_runnable
from lrsearch.registry import ComponentConfig
from lrsearch.settings import Configuration
from lrsearch.storage.database import Database, stored_version, unusable
from lrsearch.storage.engine import connect
from lrsearch.storage.file_systems import file_system_of, is_shared
from lrsearch.text.formatting import byte_size, plural
from lrsearch.text.redaction import redacted

if TYPE_CHECKING:
    from lrsearch.workers.device_slots import DeviceSlot

_SLOW_ANSWER = 0.05
_SLOW_STORE = 1.0
_TESTED = (15, 18)
"""The oldest and the newest version of PostgreSQL that lrsearch is tested with."""
_FEW_BYTES = 2**30
_MOST_AND_USED = text(
    """
    select
        current_setting('max_connections')::int - (
            select sum(setting::int) from pg_settings
            where name in ('superuser_reserved_connections', 'reserved_connections')
        ),
        (select count(*) from pg_stat_activity where datid is not null)
    """
)
"""Connections of a server for those who are no superusers, and those in use."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    level: str
    """ok, warning or problem."""
    said: str


def ok(what: str, said: str) -> Finding:
    return Finding(what, "ok", said)


def warning(what: str, said: str) -> Finding:
    return Finding(what, "warning", said)


def problem(what: str, said: str) -> Finding:
    return Finding(what, "problem", said)


def examine(arguments: Sequence[str]) -> int:
    """Print all findings; return 1 if anything keeps a sweep from running, else 0."""
    console = make_console()
    named = any(argument.startswith("+sweep=") for argument in arguments)
    configuration = load_configuration(arguments if named else ["+sweep=digits", *arguments])
    checks: list[Callable[[Configuration], Iterator[Finding]]] = [
        check_database, check_checkpoints, check_devices,
    ]  # fmt: skip
    if named:
        checks.append(check_data)
    problems = 0
    colours = {"ok": "green", "warning": "yellow", "problem": "bold red"}
    for check in checks:
        for finding in check(configuration):
            problems += finding.level == "problem"
            mark = f"[{colours[finding.level]}]{finding.level:8}[/]"
            console.print(mark, end=" ")
            console.print(f"{finding.what}: {finding.said}", markup=False, soft_wrap=True)
    if not named:
        console.print("the data were not looked at: give +sweep=NAME", markup=False)
    return 1 if problems else 0


def check_database(configuration: Configuration) -> Iterator[Finding]:
    """Check that the database answers in time, and has our version, rights and connections."""
    url = configuration.runtime.storage_url
    shown = redacted(url)
    parts = make_url(url)
    sqlite = parts.get_backend_name() == "sqlite"
    if sqlite:
        folder = Path(parts.database or "").absolute().parent
        if not os.access(folder, os.W_OK):
            yield problem("database", f"{folder} is not a folder one can write to")
            return
        if not Path(parts.database or "").exists():
            yield ok("database", f"{shown} will be made by the first sweep")
            return
        yield from _check_file_system(Path(parts.database or ""))
    try:
        engine = connect(url)
    except ImportError as error:  # its driver
        yield problem("database", str(unusable(url, error)))
        return
    try:
        with engine.connect() as connection:
            is_made = stored_version(connection) is not None
        if is_made:
            Database(url, engine, make=False)
        tables = "its tables are of our version" if is_made else "the first sweep makes its tables"
        with engine.connect() as connection:
            yield ok("database", f"{shown} answers; {tables}")
            yield _latency(connection)
            yield from _permissions(connection)
            if not sqlite:
                yield from _server_version(connection)
                yield from _connections(connection, configuration)
    except UserError as error:
        yield problem("database", str(error))
        return
    except SQLAlchemyError as error:
        yield problem("database", str(unusable(url, error)))
        return
    finally:
        engine.dispose()
    if sqlite:
        yield ok("workers", "SQLite serves the workers of one machine; several need PostgreSQL")


def _check_file_system(file: Path) -> Iterator[Finding]:
    if is_shared(kind := file_system_of(file)):
        yield problem(
            "database",
            f"{file} lies on {kind}, where SQLite loses data with several writers: "
            f"use a local disk, or PostgreSQL",
        )


def _latency(connection: Connection) -> Finding:
    times = []
    for _ in range(20):
        started = time.perf_counter()
        connection.execute(text("select 1")).all()
        times.append(time.perf_counter() - started)
    median = sorted(times)[len(times) // 2]
    said = f"answers in {1000 * median:.2g} ms"
    if median > _SLOW_ANSWER:
        return warning("latency", f"{said}: each evaluation waits for a few answers; move nearer")
    return ok("latency", said)


def _permissions(connection: Connection) -> Iterator[Finding]:
    connection.rollback()
    try:
        with connection.begin():
            if connection.dialect.name == "sqlite":
                # Python's driver begins none by itself before a table is made.
                connection.exec_driver_sql("begin immediate")
            connection.execute(text("drop table if exists lrsearch_doctor"))
            connection.execute(text("create table lrsearch_doctor (n integer)"))
            connection.execute(text("insert into lrsearch_doctor values (1)"))
            connection.execute(text("drop table lrsearch_doctor"))
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", error)).splitlines()[0]
        yield problem("permissions", f"{said}; the user must be allowed to create and write tables")
    else:
        yield ok("permissions", "tables can be made and written")


def _server_version(connection: Connection) -> Iterator[Finding]:
    version = connection.execute(text("show server_version")).scalar_one()
    number = int(connection.execute(text("show server_version_num")).scalar_one())
    oldest, newest = _TESTED
    if oldest <= number // 10_000 <= newest:
        yield ok("server", f"PostgreSQL {version}")
    else:
        tested = f"lrsearch is tested with {oldest} and {newest}"
        yield warning("server", f"PostgreSQL {version}; {tested}")


_SPARE = 10
"""Connections for the dashboard, and those that PostgreSQL keeps for itself."""


def _connections(connection: Connection, configuration: Configuration) -> Iterator[Finding]:
    process = connection.execute(text("select pg_backend_pid()")).scalar_one()
    driver: Any = connection.connection.driver_connection
    if driver.info.backend_pid != process:  # a pooler says another number
        yield ok("connections", "a pooler is before the server: workers share its connections")
        return
    most, used = connection.execute(_MOST_AND_USED).one()
    workers = len(_device_slots(configuration))
    needed = workers + 1  # the sweep has one, too
    take = "takes" if workers == 1 else "take"
    said = f"{used} of {most} in use; {plural(workers, 'worker')} here {take} up to {needed}"
    if needed > most - used:
        yield problem(
            "connections",
            f"{said}: raise max_connections to {used + needed + _SPARE} or put a pooler before it",
        )
    else:
        yield ok("connections", said)


def check_checkpoints(configuration: Configuration) -> Iterator[Finding]:
    """Check that checkpoints can be written, read and deleted, and that the disk has room."""
    from lrsearch.checkpoints.store import Store
    from lrsearch.study.study import checkpoints_url

    runtime = configuration.runtime
    url = checkpoints_url(runtime.storage_url, runtime.checkpoints_url).removeprefix("file://")
    is_folder = "://" not in url
    try:
        with removed_if_empty(Path(url)) if is_folder else nullcontext(False) as is_new:
            seconds = Store(url).probe()
            free = shutil.disk_usage(url).free if is_folder else None
    except UserError as error:
        yield problem("checkpoints", str(error))
        return
    said = f"{url} can be written and read ({1000 * seconds:.0f} ms)"
    yield (
        warning("checkpoints", f"{said}, slowly")
        if seconds > _SLOW_STORE
        else ok("checkpoints", said)
    )
    if is_new:
        made = "it is not there yet, and will be made by the first sweep"
        yield (
            ok("checkpoints", made)
            if runtime.checkpoints_url is None
            else warning("checkpoints", f"{made}: if it should be on another disk, mount that")
        )
    if free is not None:
        if free < _FEW_BYTES:
            yield warning("checkpoints", f"only {byte_size(free)} are free there")
        if not runtime.storage_url.startswith("sqlite"):
            yield warning(
                "checkpoints",
                "a folder of this machine: for several machines give storage.checkpoints a "
                "shared folder or s3://..., else a trial taken over elsewhere starts over",
            )


def check_devices(configuration: Configuration) -> Iterator[Finding]:
    """Check the driver, the devices with their memory, and the processor cores of workers."""
    from lrsearch.training.devices import device_label, resolve_device
    from lrsearch.workers.device_slots import available_cores, in_words

    train = configuration.settings.train
    yield from _driver()
    try:
        device = resolve_device(train.device)
    except UserError as error:
        yield problem("device", str(error))
        return
    try:
        slots = _device_slots(configuration)
    except UserError as error:
        yield problem("device", str(error))
        return
    more = ", ..." if len(slots) > 1 else ""
    workers = in_words(slots, train.gpus)
    yield ok("device", f"{device_label(device)}; {workers}: {slots[0].name}{more}")
    if device.type == "cuda":
        yield from _visible_devices()
    cores, threads = available_cores(), math.ceil(train.gpus) * train.threads
    if device.type == "cpu" and len(slots) * threads > cores:
        said = f"{plural(len(slots), 'worker')} of {plural(threads, 'thread')} on"
        yield warning("device", f"{said} {plural(cores, 'core')}: they slow each other")


def _driver() -> Iterator[Finding]:
    """Say which driver and which build of torch there are, and what chooses the GPUs."""
    from lrsearch.training.devices import build_label
    from lrsearch.training.drivers import VARIABLES, DriverFault, cards, has_nvidia_smi

    chosen = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    more = "; ".join(["", *chosen])
    if not has_nvidia_smi():
        yield ok("driver", f"{build_label()}; no nvidia-smi here{more}")
        return
    try:
        found = cards()
    except DriverFault as fault:
        yield warning("driver", f"{build_label()}; {fault}{more}")
        return
    drivers = ", ".join(sorted({card.driver for card in found})) or "unknown"
    yield ok("driver", f"{build_label()}; NVIDIA's driver {drivers}{more}")
    for card in found:
        mig = "; divided by MIG" if card.is_divided else ""
        held = f"{byte_size(card.used)} of {byte_size(card.total)} in use"
        yield ok("card", f"{card.name}, {card.uuid}: {held}{mig}")


def _visible_devices() -> Iterator[Finding]:
    """Check that each device that torch sees computes, and has memory left."""
    from lrsearch.training.devices import memory_of, try_device, visible_devices

    for device, label in visible_devices():
        if fault := try_device(device):
            yield problem("device", f"{device} ({label}) cannot be used: {fault}")
            continue
        memory = memory_of(device)
        said = f"{device} ({label}): {byte_size(memory.free)} of {byte_size(memory.total)} are free"
        if memory.others > memory.total / 2:
            yield warning("memory", f"{said}: other processes hold {byte_size(memory.others)}")
        else:
            yield ok("memory", said)


def _device_slots(configuration: Configuration) -> Sequence[DeviceSlot]:
    """Return the slots in which the workers of this machine would run."""
    from lrsearch.workers.device_slots import device_slots

    train = configuration.settings.train
    return device_slots(configuration.runtime.workers, train.device, train.threads, train.gpus)


def _check_script(objective: ComponentConfig) -> Finding:
    """Check that the program of a script, and the script, are on this machine."""
    line = CommandLine.parse(objective.arguments[COMMAND], f"objective.{COMMAND}", [])
    try:
        check_runnable(line)
    except UserError as error:
        return problem("script", str(error))
    return ok("script", command_words(objective))


def check_data(configuration: Configuration) -> Iterator[Finding]:
    """Check that the data can be read, without others in their place."""
    from lrsearch.data.prepare import prepare

    objective = configuration.settings.objective
    if objective is not None:
        yield ok("data", "your own objective reads its own")
        if is_command(objective):
            yield _check_script(objective)
        return
    try:
        info = prepare(configuration.settings.data)
    except UserError as error:
        yield problem("data", str(error))
        return
    if info.fallback_reason:
        yield warning("data", f"not {info.wanted}: {info.name} would stand in for it; "
                      f"{info.fallback_reason}")  # fmt: skip
    else:
        yield ok("data", f"{info.name}, {info.extent}, {info.fingerprint[:12]}")
