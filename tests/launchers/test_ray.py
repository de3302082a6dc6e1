"""What the launcher of Ray actors refuses before anything is stored."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from command_line import Command

import lrsearch
from lrsearch.launchers.ray_nodes import NodeFacts, machine, node_problems

SWEEP = ("+sweep=digits", "launcher=ray", "study.n_trials=1")
Refused = Callable[..., str]


@pytest.fixture
def refused(command: Command) -> Refused:
    """Run a sweep that is refused with exit code 2; return what was said."""

    def run(*settings: str) -> str:
        code, _, errors = command(*SWEEP, *settings)
        assert code == 2
        return errors

    return run


@pytest.fixture
def closed_port() -> int:
    """A port of this machine at which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_an_address_without_a_cluster_is_refused_at_once(
    refused: Refused, closed_port: int
) -> None:
    for address in (f"127.0.0.1:{closed_port}", f"ray://127.0.0.1:{closed_port}"):
        said = refused(f"launcher.address={address}")
        assert "launcher.address" in said
        assert address in said
        assert "launcher.address=local" in said


@pytest.mark.parametrize("address", ["head", "10.0.0.1:x", "ray://"])
def test_what_is_no_address_is_refused(refused: Refused, address: str) -> None:
    assert f"launcher.address: '{address}' is not" in refused(f"launcher.address={address}")


def test_all_wrong_settings_are_told_at_once(refused: Refused) -> None:
    said = refused(
        "launcher.gpus_per_worker=1.5",
        "launcher.env=[SURELY_NOT_SET]",
        "launcher.working_dir=nowhere",
        "launcher.runtime_env={pip: [https://me:secret@host/package.whl]}",
    )
    for key in ("gpus_per_worker", "env", "working_dir", "runtime_env"):
        assert f"launcher.{key}" in said
    assert "secret" not in said


def test_without_a_cluster_the_ways_to_one_are_told(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")

    def finds_none(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", finds_none)
    said = refused()
    assert "launcher.address=local" in said
    assert "ray start --head" in said


def test_without_the_package_the_way_to_install_it_is_told(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'lrsearch[ray]'" in refused()


HERE = NodeFacts("n1", machine(), lrsearch.__version__, (), None)
SERVER = "postgresql+psycopg://me:secret@db/lrsearch"


@pytest.mark.parametrize("url", ["sqlite:////tmp/s.db", "postgresql+psycopg://me@localhost/x"])
def test_a_database_of_this_machine_alone_is_for_its_own_nodes(url: str) -> None:
    assert node_problems(HERE, url, {}) == []
    (problem,) = node_problems(replace(HERE, machine="another"), url, {})
    assert problem.startswith("storage.url: node n1")
    assert node_problems(replace(HERE, machine="another"), SERVER, {}) == []


def test_what_a_node_lacks_is_told_without_the_password() -> None:
    files = {"/c/token": "storage.checkpoints", "/o/token": "output_dir"}
    facts = replace(HERE, version="0.0.1", missing=tuple(files), unusable="no route to host")
    problems = node_problems(facts, SERVER, files)
    assert [problem.partition(":")[0] for problem in problems] == [
        "launcher", "storage.url", "storage.checkpoints",
    ]  # fmt: skip
    assert "secret" not in "".join(problems)
    assert "no route to host" in problems[1]
