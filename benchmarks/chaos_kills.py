"""Kills at chosen moments: at the statements of a command, or during an auxiliary run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from chaos_study import Arena, Cost, Undisturbed


def forked(arena: Arena, *arguments: str, die_at: int | None = None) -> int:
    """Start a command in a fork of this process, which has imported lrsearch; return its id.

    With `die_at`, it is killed before the statement or commit of that number. The file `statements`
    counts those that were executed.
    """
    import torch  # noqa: F401 - once, instead of in each copy

    import lrsearch.cli.run  # noqa: F401
    from lrsearch.cli.main import main

    if pid := os.fork():
        return pid
    code = 1
    try:
        os.chdir(arena.folder)
        os.environ.update(arena.environment())
        said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        _count_statements(die_at)
        main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - the copy must not go on with what the original does
        traceback.print_exc()
    finally:
        os._exit(code)


def _count_statements(die_at: int | None) -> None:
    from sqlalchemy import Engine, event

    count = 0

    def one(*_: object) -> None:
        nonlocal count
        count += 1
        if count == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        Path("statements").write_text(str(count))

    event.listen(Engine, "before_cursor_execute", one)
    event.listen(Engine, "commit", one)


def ended(pid: int) -> int:
    """Wait for a fork to end; return its exit code, below 0 for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _points(statements: int, how_many: int, rng: random.Random) -> Sequence[int]:
    """Choose the statements at which a command is killed: all, or a random sample."""
    every = range(1, statements + 1)
    return every if statements <= how_many else sorted(rng.sample(every, how_many))


def creation(folder: Path, plain: Undisturbed, how_many: int, rng: random.Random) -> Cost:
    """Kill a command that creates a study; repeating it must create the study once and whole."""
    cost = Cost("killed while the study is made")
    whole = Arena(folder / "whole")
    ended(forked(whole, "submit", *plain.sweep))
    statements = int((whole.folder / "statements").read_text())
    for at in _points(statements, how_many, rng):
        arena = Arena(folder / f"at-{at}")
        if ended(forked(arena, "submit", *plain.sweep, die_at=at)) == -signal.SIGKILL:
            cost.faults += 1
        if code := ended(forked(arena, "submit", *plain.sweep)):
            last = arena.said().strip().splitlines()[-1:]
            cost.wrong.append(f"killed at statement {at}, then ended with {code}: {last}")
            continue
        cost.wrong += [f"killed at statement {at}: {one}" for one in _not_whole(arena, plain)]
    if arena.run(*plain.sweep):  # the last one
        cost.wrong.append(f"the sweep: {arena.said().strip().splitlines()[-1:]}")
    plain.compare(arena, cost)
    return cost


def _not_whole(arena: Arena, plain: Undisturbed) -> list[str]:
    """Return what is wrong with a study that no worker has begun."""
    found = {
        what: arena.ask(f"select count(*) from {table}")[0][0]
        for what, table in {
            "Optuna studies": "studies", "studies": "lrsearch_studies", "units": "lrsearch_units",
        }.items()
    }  # fmt: skip
    wanted = {"Optuna studies": 1, "studies": 1, "units": len(plain.results)}
    return [f"{found[what]} {what}" for what in wanted if found[what] != wanted[what]]


def auxiliary_runs(
    folder: Path, kind: str, whole: Undisturbed, rng: random.Random, kills: int = 2
) -> Cost:
    """Kill workers during auxiliary runs of a kind; the sweep's command must replace them.

    On a fast machine a run may be over before its worker is killed: then the sweep is run again,
    with less delay. Only two are killed, since three early deaths in a row end a sweep.
    """
    cost = Cost(f"worker killed in the {kind.replace('_', ' ')}")
    for number, delay in enumerate((0.3, 0.1, 0.0)):
        _disturb(folder / str(number), kind, whole, cost, kills, partial(rng.uniform, 0.0, delay))
        if cost.faults or cost.wrong:
            return cost
    cost.wrong.append("no worker was met in one")
    return cost


def _disturb(
    folder: Path, kind: str, whole: Undisturbed, cost: Cost, kills: int, delay: Callable[[], float]
) -> None:
    """Run a sweep, and kill at most so many of its workers, each `delay()` s after it was seen."""
    arena = Arena(folder)
    command = arena.start(*whole.sweep, "workers=2")
    seen: set[str] = set()
    while command.poll() is None:
        owners = [] if cost.faults >= kills else _owners(folder / "lrsearch.db", kind)
        for owner in set(owners) - seen:
            time.sleep(delay())
            pid = int(owner.split("/")[-2])
            # It may have gone on to something else meanwhile.
            if owner in _owners(folder / "lrsearch.db", kind):
                os.kill(pid, signal.SIGKILL)
                cost.faults += 1
            seen.add(owner)
            break
        time.sleep(0.02)
    if command.returncode:
        cost.wrong.append(f"ended with {command.returncode}: {arena.said().splitlines()[-1:]}")
    whole.compare(arena, cost)


def _owners(database: Path, kind: str) -> list[str]:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            rows = connection.execute(
                "select owner from lrsearch_side_runs where kind = ? and state = 'running'", (kind,)
            ).fetchall()
    except sqlite3.Error:  # not there yet
        return []
    return [owner for (owner,) in rows]


def upgrade(folder: Path, plain: Undisturbed, how_many: int, rng: random.Random) -> Cost:
    """Kill a command that upgrades the tables; repeating it must complete the upgrade."""
    cost = Cost("killed in the upgrade")
    aged = folder / "aged.db"
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(plain.arena.folder / "lrsearch.db")) as connection:
        connection.execute("vacuum into ?", (str(aged),))
    age(aged)

    def arena(name: str) -> Arena:
        made = Arena(folder / name)
        shutil.copy(aged, made.folder / "lrsearch.db")
        return made

    whole = arena("whole")
    if ended(forked(whole, "upgrade")):
        cost.wrong.append(f"undisturbed: {whole.said().strip().splitlines()[-1:]}")
        return cost
    if whole.results() != plain.results:
        cost.wrong.append("undisturbed: results have changed")
    statements = int((whole.folder / "statements").read_text())
    for at in _points(statements, how_many, rng):
        one = arena(f"at-{at}")
        if ended(forked(one, "upgrade", die_at=at)) == -signal.SIGKILL:
            cost.faults += 1
        if code := ended(forked(one, "upgrade")):
            last = one.said().strip().splitlines()[-1:]
            cost.wrong.append(f"killed at statement {at}, then ended with {code}: {last}")
        elif one.results() != plain.results:
            cost.lost += 1
            cost.wrong.append(f"killed at statement {at}: results have changed")
    return cost


def age(database: Path) -> None:
    """Set the Optuna tables of a database back by one step, which an upgrade must take again.

    lrsearch's own tables have had one version only.
    """
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("drop index ix_trials_study_id")
        connection.execute("update alembic_version set version_num = 'v3.0.0.d'")
        connection.commit()


def two_parents(
    folder: Path, plain: Undisturbed, rounds: int, new_database: Callable[[], str] | None
) -> Cost:
    """Start two commands at once without a database; both must then run the sweep."""
    cost = Cost("two parents at once")
    for number in range(rounds):
        urls = [None] if new_database is None else [None, new_database()]
        for url in urls:
            where = "SQLite" if url is None else "PostgreSQL"
            arena = Arena(folder / f"{number}-{where}", url)
            both = [forked(arena, "submit", *plain.sweep) for _ in range(2)]
            codes = [ended(pid) for pid in both]
            cost.faults += 1
            if any(codes):
                last = arena.said().strip().splitlines()[-1:]
                cost.wrong.append(f"{where}: ended with {codes}: {last}")
            else:
                cost.wrong += [f"{where}: {one}" for one in _not_whole(arena, plain)]
    arena = Arena(folder / "sweep")
    both = [forked(arena, *plain.sweep, "workers=1") for _ in range(2)]
    cost.faults += 1
    if any(codes := [ended(pid) for pid in both]):
        last = arena.said().strip().splitlines()[-1:]
        cost.wrong.append(f"the whole sweep: ended with {codes}: {last}")
    plain.compare(arena, cost)
    return cost
