"""What a fleet of workers costs the database, and how many it can serve.

Simulated workers claim trials of a study with thousands of ended ones, report an evaluation a
second each, renew their leases, decide by the pruner and end their trials, all by lrsearch's own
classes: only the training is missing. They use PostgreSQL of Debian's packages through PgBouncer in
transaction mode or, with `--direct`, without it. Prints the latency of each operation, errors, and
the seconds of processor of workers, PgBouncer and PostgreSQL; then compares each stored value with
what was reported. Exit code 1 where anything was lost or went wrong, or with `--goal` where 99 % of
any operation of 256 workers or fewer take longer than a second.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import multiprocessing.process
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy
from fleet_workers import Fleet, Record, run_workers
from machine import describe_machine
from postgres import DebianServer, PgBouncer, missing
from scale_study import make_study
from sqlalchemy import create_engine, text

NAME = "scale"
GOAL_WORKERS, GOAL_SECONDS = 256, 1.0
"""Goal: 99 % of each operation of so many workers, one evaluation a second each."""
_MOST_PROCESSES = 64
_LONGEST = 300.0
"""Seconds within which a process of workers must answer after the end."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", default="256", help="several: 64,128,256,512,1024")
    parser.add_argument("--processes", type=int, help="that the workers share; default 4 each")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the measurement")
    parser.add_argument("--ramp", type=float, default=40.0, help="seconds in which workers start")
    parser.add_argument("--warm-up", type=float, default=15.0, help="seconds before it, after")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between evaluations")
    parser.add_argument("--evaluations", type=int, default=30, help="of a whole trial")
    parser.add_argument("--finished", type=int, default=1000, help="trials that have ended before")
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--pruner", default="schedule_aware")
    parser.add_argument("--direct", action="store_true", help="without PgBouncer")
    parser.add_argument("--pool", type=int, default=20, help="PgBouncer's connections")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a setting of PostgreSQL, such as synchronous_commit=off")  # fmt: skip
    parser.add_argument("--statements", type=int, default=0, help="show so many costly statements")
    parser.add_argument("--goal", action="store_true", help="fail where the goal is not met")
    parser.add_argument("--folder", type=Path, help="of the database's files")
    parser.add_argument("--output", type=Path, help="file of the raw numbers")
    options = parser.parse_args()
    if package := missing():
        sys.exit(f"Debian's package {package} is not installed here")
    rows, failed = [], False
    for workers in map(int, options.workers.split(",")):
        with tempfile.TemporaryDirectory(
            prefix="lrfleet-", dir=options.folder, ignore_cleanup_errors=True
        ) as folder:
            row = measure(Path(folder), workers, options)
        rows.append(row)
        show(row, options.statements)
        failed |= bool(row["problems"] or row["lost"] or row["wrong"])
        failed |= options.goal and not row["goal met"]
        if options.output is not None:
            options.output.write_text(
                json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n"
            )
    sys.exit(1 if failed else 0)


def measure(folder: Path, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run a fleet on a new server; return what it has cost."""
    server = DebianServer(
        folder / "server", f"max_connections={2 * workers + 50}", "shared_buffers=512MB",
        "track_io_timing=on", *options.set,
    )  # fmt: skip
    bouncer = None
    try:
        url = server.url()
        per_second = workers / options.every
        length = options.ramp + options.warm_up + options.seconds
        # A pruned trial may end after a tenth of its evaluations.
        left = int(workers + 10 * per_second * length / options.evaluations)
        make_study(url, NAME, options.finished, options.evaluations, left,
                   f"sampler={options.sampler}", f"pruner={options.pruner}")  # fmt: skip
        server.ask("VACUUM ANALYZE")
        if not options.direct:
            bouncer = PgBouncer(folder / "pgbouncer", server, options.pool)
            url = bouncer.url()
        return run(folder, workers, options, server, bouncer, url)
    finally:
        if bouncer is not None:
            bouncer.stop()
        server.stop()


def run(
    folder: Path,
    workers: int,
    options: argparse.Namespace,
    server: DebianServer,
    bouncer: PgBouncer | None,
    url: str,
) -> dict[str, Any]:
    """Run the workers, and compare what they have reported with what is stored."""
    start = time.monotonic() + 1.0
    begin = start + options.ramp + options.warm_up
    fleet = Fleet(url, NAME, options.evaluations, options.every, str(folder / "checkpoints"),
                  start, options.ramp, begin, begin + options.seconds)  # fmt: skip
    processes = _started(fleet, workers, options.processes)
    time.sleep(max(0.0, begin - time.monotonic()))
    costs = _costs_until(fleet.end, options.seconds, server, bouncer)
    records, problems = _collected(processes)
    lost, wrong = compare(server, records)
    chosen = ("finished", "every", "sampler", "pruner", "seconds")
    return {
        "workers": workers,
        "pgbouncer": None if bouncer is None else options.pool,
        "server": server.ask("SHOW server_version")[0][0],
        "settings": options.set,
        **{name: getattr(options, name) for name in chosen},
        "wanted_per_second": workers / options.every,
        **costs,
        **_rates(records, options.seconds, workers),
        "cores": {
            "workers": sum(record.cpu for record in records) / options.seconds,
            **costs["cores"],
        },
        "problems": collections.Counter(problems).most_common(10),
        "lost": lost,
        "wrong": wrong,
    }


Started = Sequence[tuple[multiprocessing.process.BaseProcess, Connection]]
"""Processes of workers, each with the end of a pipe that it sends its record to."""


def _started(fleet: Fleet, workers: int, most: int | None) -> Started:
    """Start the workers in a few processes."""
    context = multiprocessing.get_context("fork")
    count = most or min(_MOST_PROCESSES, -(-workers // 4))
    started = []
    for first in range(count):
        theirs, ours = context.Pipe(duplex=False)
        share = range(first, workers, count)
        process = context.Process(target=run_workers, args=(fleet, share, ours))
        started.append((process, theirs, ours))
    for process, _, ours in started:
        process.start()
        ours.close()
    return [(process, theirs) for process, theirs, _ in started]


def _costs_until(
    end: float, seconds: float, server: DebianServer, bouncer: PgBouncer | None
) -> dict[str, Any]:
    """Watch the servers until a time of the monotonic clock; return what they took."""
    servers = {"postgresql": server, **({} if bouncer is None else {"pgbouncer": bouncer})}
    before = {name: one.cpu() for name, one in servers.items()}
    if server.statistics:
        server.ask("SELECT pg_stat_statements_reset()")
    commits, waits, load = _commits(server), _Waits(server), os.getloadavg()[0]
    time.sleep(max(0.0, end - time.monotonic()))
    return {
        "cores": {name: (one.cpu() - before[name]) / seconds for name, one in servers.items()},
        "commits_per_second": (_commits(server) - commits) / seconds,
        "load": round(load, 1),
        "waits": waits.stop(),
        "statements": _statements(server),
    }


def _collected(processes: Started) -> tuple[list[Record], list[str]]:
    """Wait for the records of the workers; return them, and what went wrong."""
    records: list[Record] = []
    problems: list[str] = []
    for number, (_, pipe) in enumerate(processes):
        if pipe.poll(_LONGEST):
            try:
                records.append(pipe.recv())
            except EOFError:
                problems.append(f"the process {number} has died")
        else:
            problems.append(f"the process {number} does not end")
    for process, _ in processes:
        process.join(1.0)
        process.kill()
    return records, [*problems, *(problem for record in records for problem in record.problems)]


def _rates(records: Sequence[Record], seconds: float, workers: int) -> dict[str, Any]:
    """Return how often the workers did what, how long it took, and whether the goal is met."""
    times: dict[str, list[float]] = collections.defaultdict(list)
    for record in records:
        for name, took in record.times.items():
            times[name] += took
    latency = {name: _latency(times[name]) for name in sorted(times)}
    slow = [name for name, one in latency.items() if one["p99_ms"] > 1000 * GOAL_SECONDS]
    return {
        "latency": latency,
        "reports_per_second": len(times["report"]) / seconds,
        "ended_per_second": sum(record.ended for record in records) / seconds,
        "reported": sum(len(record.reported) for record in records),
        "goal met": not slow if workers <= GOAL_WORKERS else None,
    }


def _latency(seconds: Iterable[float]) -> dict[str, float]:
    """Return the number of an operation, and its latency in milliseconds."""
    ms = 1000 * numpy.asarray(list(seconds))
    return {
        "number": len(ms),
        "p50_ms": float(numpy.percentile(ms, 50)),
        "p99_ms": float(numpy.percentile(ms, 99)),
        "max_ms": float(ms.max()),
    }


def _commits(server: DebianServer) -> int:
    query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'postgres'"
    return int(str(server.ask(query)[0][0]))


def _statements(server: DebianServer) -> list[dict[str, Any]]:
    """Return the statements that have cost most, with milliseconds in all and of one call."""
    if not server.statistics:
        return []
    rows = server.ask(
        "SELECT query, calls, total_exec_time, mean_exec_time, rows, shared_blks_hit "
        "FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 30"
    )
    names = ("query", "calls", "total_ms", "mean_ms", "rows", "blocks")
    return [dict(zip(names, row, strict=True)) for row in rows]


class _Waits:
    """Counts what the server's connections wait for, looking twice a second."""

    def __init__(self, server: DebianServer) -> None:
        self._server, self._over = server, threading.Event()
        self._seen: collections.Counter[str] = collections.Counter()
        self._looks = 0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.5):
            self._looks += 1
            for state, event, count in self._server.ask(
                "SELECT state, coalesce(wait_event_type || ':' || wait_event, 'CPU'), count(*) "
                "FROM pg_stat_activity WHERE backend_type = 'client backend' "
                "AND pid <> pg_backend_pid() AND state <> 'idle' GROUP BY 1, 2"
            ):
                self._seen[f"{state} {event}"] += int(str(count))

    def stop(self) -> dict[str, float]:
        """Return the mean number of connections in each state."""
        self._over.set()
        self._thread.join()
        return {
            what: round(count / max(1, self._looks), 2) for what, count in self._seen.most_common(8)
        }


def compare(server: DebianServer, records: Iterable[Record]) -> tuple[int, list[str]]:
    """Return how many reported values are not stored as they were, and what else is wrong."""
    reported = {key: value for record in records for key, value in record.reported.items()}
    engine = create_engine(server.url())
    wrong = []
    with engine.connect() as connection:
        stored, shown = (
            {(row[0], row[1]): row[2] for row in connection.execute(text(query))}
            for query in (
                "select trial_id, evaluation, value from lrsearch_epochs",
                "select trial_id, step, intermediate_value from trial_intermediate_values",
            )
        )
        lost = sum(stored.get(key) != value for key, value in reported.items())
        lost += sum(shown.get(key) != value for key, value in reported.items())
        if stored != shown:
            wrong.append("Optuna's values differ from lrsearch's")
        for what, query in {
            "trials have been taken over": "select count(*) from lrsearch_units where deaths > 0",
            "trials are left running": "select count(*) from lrsearch_units where state='running'",
            "ended trials share an order": "select count(finish_order) - count(distinct "
            "finish_order) from lrsearch_units",
            "ended trials are not ended in Optuna": "select count(*) from lrsearch_units join "
            "trials using (trial_id) where (lrsearch_units.state = 'done') <> "
            "(trials.state in ('COMPLETE', 'PRUNED', 'FAIL'))",
            "studies with a wrong number of ended trials": "select count(*) from lrsearch_studies "
            "s where finished <> (select count(*) from lrsearch_units u "
            "where u.study_id = s.study_id and u.state = 'done')",
        }.items():
            if count := connection.scalar(text(query)):
                wrong.append(f"{count} {what}")
    engine.dispose()
    return lost, wrong


def show(row: dict[str, Any], statements: int) -> None:
    """Print what a fleet has cost."""
    through = "directly" if row["pgbouncer"] is None else f"PgBouncer, {row['pgbouncer']} of server"
    cores = ", ".join(f"{name} {used:.2f}" for name, used in row["cores"].items())
    print(
        f"\n{row['workers']} workers ({through}; PostgreSQL {row['server']}; "
        f"{row['finished']} ended trials; load {row['load']})\n"
        f"  {row['reports_per_second']:.1f} reports/s of {row['wanted_per_second']:.1f}, "
        f"{row['ended_per_second']:.1f} ended trials/s, {row['commits_per_second']:.0f} "
        f"transactions/s; cores: {cores}"
    )
    print(f"  {'':10} {'number':>8} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
    for name, one in row["latency"].items():
        print(f"  {name:10} {one['number']:8} {one['p50_ms']:8.1f} {one['p99_ms']:8.1f} "
              f"{one['max_ms']:8.1f}")  # fmt: skip
    print(f"  connections: {row['waits']}")
    print(f"  {row['reported']} reported values, {row['lost']} lost; "
          f"{'; '.join(row['wrong']) or 'nothing wrong'}")  # fmt: skip
    for problem, count in row["problems"]:
        print(f"  PROBLEM ({count} times): {problem}")
    if row["goal met"] is not None:
        print(f"  goal, 99 % of each operation within {GOAL_SECONDS:g} s: "
              f"{'met' if row['goal met'] else 'NOT MET'}")  # fmt: skip
    for one in row["statements"][:statements]:
        query = " ".join(str(one["query"]).split())
        print(f"  {one['total_ms']:9.0f} ms {one['calls']:8} x {one['mean_ms']:7.3f} ms "
              f"{one['blocks'] / max(1, one['calls']):8.0f} blocks  {query[:150]}")  # fmt: skip
    sys.stdout.flush()


if __name__ == "__main__":
    main()
