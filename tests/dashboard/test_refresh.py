"""What lrsearch writes for the dashboard, when, and when not."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import optuna
import optuna_dashboard
import pytest
from sqlalchemy import create_engine, event, inspect
from told_sweep import ToldSweep

from lrsearch.dashboard import refresh as module
from lrsearch.dashboard.own_tables import OwnTables
from lrsearch.dashboard.refresh import Refresher, refresh, stale
from lrsearch.queue.endings import reopen_failed
from lrsearch.states import Outcome
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies

FIGURES = {
    "lrsearch-curves", "lrsearch-rates", "lrsearch-loss-vs-lr", "lrsearch-map",
    "lrsearch-importance",
}  # fmt: skip


def refresh_all(database: Database) -> list[str]:
    """What a round of the dashboard does; the studies it has written."""
    found = stale(database)
    for name, mark in found.items():
        refresh(database, name, mark)
    return list(found)


def optuna_study(sweep: ToldSweep) -> optuna.Study:
    return optuna.load_study(study_name=sweep.name, storage=sweep.url)


def test_notes_and_figures_are_where_the_dashboard_looks_for_them(either_url: str) -> None:
    sweep = ToldSweep(either_url)
    for value in (0.5, 0.25, 0.75):
        sweep.trial(value)
    assert refresh_all(sweep.database) == ["digits"]
    study = optuna_study(sweep)
    assert "0.25" in optuna_dashboard.get_note(study)
    system = study._storage.get_study_system_attrs(study._study_id)
    figures = {key.split(":")[2] for key in system if key.startswith("dashboard:plot_data:")}
    assert figures
    assert figures <= FIGURES
    notes = [key for key in system if key.endswith(":note_ver") and key.count(":") == 2]
    assert len(notes) == 3
    sweep.close()


def test_the_best_and_the_latest_trials_have_notes_and_no_others(
    sweep: ToldSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NOTED", 2)
    sweep.trial(0.1)

    def noted() -> set[int]:
        study = optuna_study(sweep)
        system = study._storage.get_study_system_attrs(study._study_id)
        notes = {int(key.split(":")[1]) for key in system if re.match(r"dashboard:\d+:", key)}
        return {trial.number for trial in study.get_trials() if trial._trial_id in notes}

    for latest in (1, 2):
        sweep.trial(0.5)
        refresh_all(sweep.database)
        assert noted() == {0, latest}


def test_what_has_not_changed_is_not_written_again_even_by_another_dashboard(
    sweep: ToldSweep,
) -> None:
    sweep.trial()
    assert refresh_all(sweep.database) == ["digits"]
    other = Database(sweep.url)
    assert refresh_all(other) == []
    other.close()


def finish_one(sweep: ToldSweep) -> None:
    sweep.trial(0.1)


def fail_and_reopen(sweep: ToldSweep) -> None:
    reopen_failed(sweep.database.session, sweep.study_id)


def stop(sweep: ToldSweep) -> None:
    sweep.queue.stop("by hand", hand_back=False)


@pytest.mark.parametrize("change", [finish_one, ToldSweep.begin, fail_and_reopen, stop])
def test_every_change_is_seen(sweep: ToldSweep, change: Callable[[ToldSweep], object]) -> None:
    sweep.trial(None, Outcome.FAILED)
    refresh_all(sweep.database)
    change(sweep)
    assert refresh_all(sweep.database) == ["digits"]
    assert refresh_all(sweep.database) == []


def test_an_evaluation_of_a_running_trial_is_seen(sweep: ToldSweep) -> None:
    claim = sweep.begin()
    refresh_all(sweep.database)
    sweep.evaluate(claim, 1, 0.5)
    assert refresh_all(sweep.database) == ["digits"]


def test_only_what_differs_is_written(sweep: ToldSweep) -> None:
    for _ in range(3):
        sweep.trial()
    refresh_all(sweep.database)
    before = optuna_study(sweep)._storage.get_study_system_attrs(sweep.study_id)
    sweep.queue.stop("by hand", hand_back=False)
    refresh_all(sweep.database)
    after = optuna_study(sweep)._storage.get_study_system_attrs(sweep.study_id)
    changed = {key for key in after if after[key] != before.get(key)}
    assert changed <= {"dashboard:note_ver", "dashboard:note_str:0", "lrsearch:shown"} | {
        key for key in after if key.startswith("dashboard:plot_data:")
    }
    assert "dashboard:note_str:0" in changed


def test_two_dashboards_at_once_do_not_fight(either_url: str) -> None:
    sweep = ToldSweep(either_url)
    sweep.trial()
    ((name, mark),) = stale(sweep.database).items()
    ready = threading.Barrier(2, timeout=60)
    failures: list[Exception] = []

    def look() -> None:
        database = Database(either_url)

        @event.listens_for(database.engine, "before_cursor_execute")
        def meet(_: object, __: object, statement: str, *___: object) -> None:
            if statement.startswith("DELETE"):
                ready.wait()  # both have read, neither has written

        try:
            refresh(database, name, mark)
        except Exception as error:  # noqa: BLE001
            failures.append(error)
        database.close()

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert "trials have ended" in optuna_dashboard.get_note(optuna_study(sweep))
    assert stale(sweep.database) == {}
    sweep.close()


def told(url: str, until: Callable[[], bool], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a refresher says until something is so."""
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    lines: list[str] = []
    tables = OwnTables(url)
    refresher = Refresher(tables, lines.append)
    with refresher:
        while refresher._thread.is_alive() and not until():
            refresher._thread.join(0.05)
    tables.close()
    return lines


def test_a_refresher_serves_studies_that_are_made_while_it_runs(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna.create_study(study_name="somebody else's", storage=url)
    made: list[ToldSweep] = []

    def is_written() -> bool:
        if not made:
            made.append(ToldSweep(url))
            made[0].trial()
        return stale(made[0].database) == {}

    assert told(url, is_written, monkeypatch) == []
    made[0].close()


def test_looking_at_a_database_of_others_makes_no_tables_in_it(url: str) -> None:
    optuna.create_study(study_name="somebody else's", storage=url)
    tables = OwnTables(url)
    assert tables.database() is None
    tables.close()
    engine = create_engine(url)
    assert not [name for name in inspect(engine).get_table_names() if "lrsearch" in name]
    engine.dispose()


def test_one_study_that_cannot_be_drawn_is_named_once_and_the_others_are_written(
    sweep: ToldSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = ToldSweep(sweep.url, 2, "study.name=fine")
    sweep.trial()
    fine.trial()
    whole = module.read_study

    def read(database: Database, name: str, **how: bool) -> object:
        if name == "digits":
            raise RuntimeError("a defect")
        return whole(database, name, **how)

    monkeypatch.setattr(module, "read_study", read)
    lines = told(sweep.url, lambda: list(stale(fine.database)) == ["digits"], monkeypatch)
    assert len(lines) == 1
    assert "digits" in lines[0]
    assert "a defect" in lines[0]
    fine.close()


def guide(mark: str) -> list[str]:
    """The SQL that docs/deploy.md gives for a role of the dashboard's own."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "deploy.md").read_text()
    (block,) = [one for one in re.findall(r"```sql\n(.*?)```", text, re.DOTALL) if mark in one]
    return [line.strip() for line in block.strip().splitlines()]


def test_a_role_that_may_only_read_is_told_once_and_one_that_may_write_notes_writes_them(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    sweep = ToldSweep(url)
    sweep.trial()
    viewer = url.replace("postgres:hunter2", "viewer:...")

    def run(statements: list[str]) -> None:
        with sweep.database.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    run(guide("CREATE ROLE viewer"))
    lines = told(viewer, lambda: False, monkeypatch)
    assert len(lines) == 1
    assert "permission denied" in lines[0]
    assert viewer not in lines[0]
    run(guide("GRANT INSERT"))
    assert told(viewer, lambda: stale(sweep.database) == {}, monkeypatch) == []
    assert "trials have ended" in optuna_dashboard.get_note(optuna_study(sweep))
    run(["DROP OWNED BY viewer", "DROP ROLE viewer"])
    sweep.close()


def test_tables_that_are_not_yet_there_are_found_when_they_are_made(url: str) -> None:
    Studies(url).close()
    tables = OwnTables(url)
    assert tables.database() is None
    Database(url).close()
    assert tables.database() is not None
    tables.close()


def test_a_database_that_was_deleted_is_told_once_and_not_made_again(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = ToldSweep(url, 2)
    tables = OwnTables(url)
    assert tables.database() is not None
    (tmp_path / "lrsearch.db").unlink()
    lines: list[str] = []
    told = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        told.set()

    monkeypatch.setattr(module, "INTERVAL", 0.01)
    with Refresher(tables, say):
        assert told.wait(60)
    assert len(lines) == 1
    assert "no longer there" in lines[0]
    assert not (tmp_path / "lrsearch.db").exists()
    tables.close()
    sweep.close()
