"""The command `worker`: what it serves, and several workers of one machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from command_line import Command
from typer.testing import CliRunner

from lrsearch.cli import locations
from lrsearch.cli.commands import app
from lrsearch.launchers import node
from lrsearch.workers.assignment import Assignment
from lrsearch.workers.device_slots import DeviceSlot
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.stop import Stop


@pytest.fixture(autouse=True)
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handlers of this process stay as they are."""
    stop = Stop(lambda: False, lambda seconds: False)
    monkeypatch.setattr(locations, "stop_on_signals", lambda *_: stop)


@pytest.mark.parametrize(
    "assignment",
    [
        Assignment(),
        Assignment(("one", "-x", "a=b", "c d"), until_empty=True),
        Assignment(idle_timeout=0.1 + 0.2),
        Assignment(("one",), idle_timeout=float("inf"), labels=("a100", "big")),
    ],
)
def test_the_options_of_an_assignment_say_the_same(
    assignment: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []

    def serve_studies(arguments: object, given: Assignment, *_: object) -> ExitCode:
        served.append(given)
        return ExitCode.REFUSED

    monkeypatch.setattr(locations, "serve_studies", serve_studies)
    done = CliRunner().invoke(app, ["worker", *assignment.options()])
    assert (done.exit_code, served) == (3, [assignment])


def test_the_workers_of_a_machine_get_the_database_in_their_environment(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[list[str], list[str], dict[str, str]]] = []

    class Node:
        def __init__(
            self,
            slots: Sequence[DeviceSlot],
            words: Sequence[str],
            environment: Mapping[str, str],
            stop: Stop,
        ) -> None:
            begun.append(([slot.name for slot in slots], list(words), dict(environment)))

        def run(self) -> ExitCode:
            return ExitCode.HANDED_BACK

    monkeypatch.setattr(node, "Node", Node)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    url = "postgresql+psycopg://me:hunter22@db/x"
    words = ("worker", "--count", "3", "--sweep", "one", "--until-empty", "output_dir=there")
    code, _, _ = command(*words, f"storage.url={url}", "storage.checkpoints=/c", "data.root=/d")
    assert code == ExitCode.HANDED_BACK
    [(slots, given, environment)] = begun
    assert slots == ["core 0", "core 1", "core 2"]
    assert given == ["worker", "--sweep", "one", "--until-empty", "output_dir=there"]
    assert (
        environment.items()
        >= {
            "LRSEARCH_STORAGE": url,
            "LRSEARCH_CHECKPOINTS": "/c",
            "LRSEARCH_DATA": "/d",
        }.items()
    )


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "many"])
def test_a_count_that_is_none_is_an_error(command: Command, count: str) -> None:
    code, _, errors = command("worker", f"--count={count}")
    assert (code, errors.strip()) == (
        2,
        f"error: --count {count}: give a number of workers, from 1 on, or auto",
    )
