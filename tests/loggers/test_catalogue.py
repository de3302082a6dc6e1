"""Loggers: checked before a sweep starts, and never worth a trial."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from lrsearch.cli.compose import load_settings
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.loggers import (
    LOGGERS,
    SafeLog,
    TrialLog,
    build_logger,
    check_logger,
    flat,
    prepare_logger,
)
from lrsearch.registry import ComponentConfig
from lrsearch.study.study import differences


class Recorded:
    """A log that keeps what it is given, and can be broken."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, dict[str, float]]] = []
        self.ended: list[tuple[str, str, float | None]] = []
        self.closed = 0
        self.broken = False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self.broken:
            raise ConnectionError("the server is away")
        self.steps.append((step, dict(values)))

    def end(self, outcome: str, metric: str, value: float | None) -> None:
        self.ended.append((outcome, metric, value))

    def close(self) -> None:
        self.closed += 1


def test_without_a_logger_there_is_nothing_to_call() -> None:
    assert load_settings(["+sweep=digits"]).logger.name == "none"
    assert build_logger(ComponentConfig("none")) is None


@pytest.mark.parametrize("name", sorted(LOGGERS))
def test_every_logger_is_chosen_by_its_name(name: str) -> None:
    settings = load_settings(["+sweep=digits", f"logger={name}"])
    assert settings.logger.name == name
    assert settings.plain["logger"]["name"] == name


@pytest.mark.parametrize(
    ("override", "said"),
    [("logger=tensorbord", "did you mean tensorboard"), ("logger.fodler=x", "logger.fodler")],
)
def test_a_typo_is_helped(override: str, said: str) -> None:
    with pytest.raises(ConfigErrors, match=said):
        load_settings(["+sweep=digits", *(["logger=tensorboard"] * ("." in override)), override])


def test_a_study_goes_on_with_another_logger() -> None:
    plain = load_settings(["+sweep=digits"]).plain
    logged = load_settings(["+sweep=digits", "logger=tensorboard"]).plain
    assert differences(plain, logged) == []
    before = {key: value for key, value in plain.items() if key != "logger"}
    assert differences(before, logged) == []


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(UserError, match=rf"pip install 'lrsearch\[{name}\]'"):
        check_logger(ComponentConfig(name))


def test_what_cannot_be_used_is_said_before_the_sweep_starts(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'lrsearch[tensorboard]'")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="go without: logger=none"):
        prepare_logger(ComponentConfig("tensorboard", {"folder": str(tmp_path / "file")}), "digits")
    prepare_logger(ComponentConfig("tensorboard", {"folder": str(tmp_path)}), "digits")
    assert (tmp_path / "digits" / "tensorboard").is_dir()


def test_what_is_not_finite_is_left_out() -> None:
    log = Recorded()
    safe_log = SafeLog(lambda: log)
    safe_log.log(10, {"a": 1.0, "b": math.nan, "c": math.inf})
    safe_log.end("complete", "val_loss", 0.5)
    safe_log.close()
    assert log.steps == [(10, {"a": 1.0})]
    assert (log.ended, log.closed) == ([("complete", "val_loss", 0.5)], 1)


def test_an_error_is_a_warning_once_and_the_log_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Recorded()
    safe_log = SafeLog(lambda: log)
    safe_log.log(10, {"a": 1.0})
    log.broken = True
    with caplog.at_level(logging.WARNING):
        safe_log.log(20, {"a": 1.0})
        log.broken = False
        safe_log.log(30, {"a": 1.0})
        safe_log.end("complete", "val_loss", 0.5)
    assert [step for step, _ in log.steps] == [10]
    assert log.ended == []
    (line,) = caplog.messages
    assert "the server is away" in line


def test_a_log_that_cannot_be_opened_is_a_warning_too(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> TrialLog:
        raise OSError("no disk")

    safe_log = SafeLog(broken)
    safe_log.log(10, {"a": 1.0})
    safe_log.end("complete", "val_loss", 0.5)
    safe_log.close()
    assert len(caplog.messages) == 1


def test_a_recipe_is_flat_for_tables_of_hyperparameters() -> None:
    recipe = {
        "lr": 0.1, "optimizer": {"name": "adamw", "betas": [0.9, 0.99]}, "grad_clip": None,
        "scheduler": {"name": "cosine", "final": 0.0},
    }  # fmt: skip
    assert flat(recipe) == {
        "lr": 0.1, "optimizer": "adamw", "optimizer.betas": "[0.9, 0.99]", "scheduler": "cosine",
        "scheduler.final": 0.0,
    }  # fmt: skip
