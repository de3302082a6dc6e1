"""What other designs of the database's part would give to very large fleets: small simulations.

Evaluations written in batches; workers that are told of work by LISTEN/NOTIFY on a connection of
their own, instead of looking for it; rows of evaluations in partitions. Prints the milliseconds of
processor that PostgreSQL (of Debian's packages) takes for each.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
from fleet_cost import evaluation
from machine import describe_machine
from postgres import DebianServer, missing
from scale_study import make_study

from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.storage.database import Database
from lrsearch.study.follow_up import follow_up
from lrsearch.study.index import StudyIndex
from lrsearch.study.study import load_row

NAME = "scale"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--finished", type=int, default=1000, help="trials that have ended before")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of evaluations in partitions")
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=600)
    parser.add_argument("--output", type=Path, help="file of the raw numbers")
    options = parser.parse_args()
    if package := missing():
        sys.exit(f"Debian's package {package} is not installed here")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="lrdesigns-", ignore_cleanup_errors=True) as folder:
        server = DebianServer(
            Path(folder) / "server", f"max_connections={options.listeners + 20}",
            "shared_buffers=1GB", "synchronous_commit=off", "autovacuum=off",
        )  # fmt: skip
        try:
            make_study(server.url(), NAME, options.finished, 30, 50, "sampler=random")
            server.ask("VACUUM ANALYZE")
            for measured in (batches, waiting, partitions):
                for row in measured(server, options):
                    rows.append(row)
                    print(f"{row['what']:60} {row['server_ms']:8.3f} ms", flush=True)
        finally:
            server.stop()
    if options.output is not None:
        document = {"machine": describe_machine(), "rows": rows}
        options.output.write_text(json.dumps(document, indent=1) + "\n")


def taken(server: DebianServer, action: Callable[[], object], per: int) -> float:
    """Return the milliseconds of the server's processor for an action, over `per`."""
    before = server.cpu()
    action()
    return 1000 * (server.cpu() - before) / per


def batches(server: DebianServer, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Write evaluations by the product's own transaction, some at a time."""
    database = Database(server.url())
    row = load_row(database, NAME)
    claims = TrialClaims(database.session, row.study_id, "simulated/1/1", follow_up)
    for size in (1, 2, 5, 10, 30):
        claim = claims.claim(take_over=False)
        assert claim is not None
        count = iter(range(1, 10**9))

        def write(claim: Any = claim, size: int = size, count: Iterator[int] = count) -> None:
            for _ in range(options.repeats // size):
                claims.record(claim, [
                    evaluation(row.study_id, claim.trial_id, next(count), 0.5) for _ in range(size)
                ])  # fmt: skip

        write()
        started = time.process_time()
        cost = taken(server, write, options.repeats)
        worker = 1000 * (time.process_time() - started) / options.repeats
        yield {"what": f"an evaluation, {size} in a transaction", "server_ms": cost,
               "worker_ms": worker}  # fmt: skip
    database.close()


def waiting(server: DebianServer, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Look for work, and be told of it."""
    database = Database(server.url())
    index = StudyIndex(database.session)

    def look() -> None:
        for _ in range(options.repeats):
            index.waiting()

    look()
    yield {"what": "an idle worker looks for work once",
           "server_ms": taken(server, look, options.repeats)}  # fmt: skip
    database.close()
    where = server.url().replace("postgresql+psycopg", "postgresql")
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(psycopg.connect(where, autocommit=True))
            for _ in range(options.listeners)
        ]
        for listener in listeners:
            listener.execute("LISTEN work")

        def notify() -> None:
            for _ in range(options.repeats // 10):
                server.ask("NOTIFY work")
            for listener in listeners:
                list(listener.notifies(timeout=0.01))

        notify()
        cost = taken(server, notify, options.repeats // 10)
    yield {"what": f"{options.listeners} idle workers are told of work once", "server_ms": cost}


def partitions(server: DebianServer, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Write to, and read from, tables of evaluations with and without partitions by study."""
    studies = 20
    for kind, by in (("one table", ""), ("partitions by study", "PARTITION BY LIST (study_id)")):
        table = f"e_{len(by)}"
        server.ask(f"CREATE TABLE {table} (LIKE lrsearch_epochs INCLUDING DEFAULTS) {by}")
        if by:
            for study in range(studies):
                server.ask(
                    f"CREATE TABLE {table}_{study} PARTITION OF {table} FOR VALUES IN ({study})"
                )
        server.ask(
            f"INSERT INTO {table} (trial_id, step, study_id, evaluation, moment, value, complete, "
            "progress, epoch, lr_start, lr_end, seconds, metrics) "
            f"SELECT n / 30, n % 30, (n / 30) % {studies}, n % 30, n % 30, random(), false, "
            "(n % 30) / 30.0, n % 30, 0.1, 0.1, 1, '{}' "
            f"FROM generate_series(1, {options.rows}) n"
        )
        server.ask(f"CREATE UNIQUE INDEX ON {table} (study_id, trial_id, step)")
        for columns in ("moment, value", "moment, complete, value", "progress, trial_id"):
            server.ask(f"CREATE INDEX ON {table} (study_id, {columns})")
        server.ask(f"VACUUM ANALYZE {table}")
        where = server.url().replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(where, autocommit=True) as connection:

            def write(table: str = table, connection: Any = connection) -> None:
                for n in range(options.repeats):
                    connection.execute(
                        f"INSERT INTO {table} (trial_id, step, study_id, evaluation, moment, "
                        "value, complete, progress, epoch, lr_start, lr_end, seconds, metrics) "
                        f"VALUES (%s, {time.monotonic_ns() % 10**9}, 7, 1, 1, 0.5, false, 0.1, 1, "
                        "0.1, 0.1, 1, '{}')", (n,),
                    )  # fmt: skip

            def read(table: str = table, connection: Any = connection) -> None:
                for _ in range(options.repeats):
                    connection.execute(
                        f"SELECT trial_id, value FROM {table} WHERE study_id = 7 "
                        "AND progress > 0.48 AND progress < 0.52 "
                        f"AND trial_id > {options.rows // 30 - 5000}"
                    ).fetchall()

            for what, action in (("written to", write), ("read at a moment", read)):
                action()
                yield {"what": f"{options.rows} evaluations in {kind}, {what}",
                       "server_ms": taken(server, action, options.repeats)}  # fmt: skip
        server.ask(f"DROP TABLE {table}")


if __name__ == "__main__":
    main()
