"""A script of the user's as an objective: its processes, its reports, and its end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lrsearch.checkpoints.store import Checkpoints
from lrsearch.errors import LrsearchError, UserError
from lrsearch.objectives import channel
from lrsearch.objectives.base import Report, TrainingEnded
from lrsearch.objectives.channel import Answer, Attempt, BadLine, GrowingFile
from lrsearch.objectives.command_line import (
    Argument,
    CommandLine,
    check_runnable,
    command_of,
    program,
    values_of,
)
from lrsearch.objectives.function import OwnObjective
from lrsearch.objectives.messages import WithDetails, answer_of, details_of, ending_of, read
from lrsearch.objectives.metrics_file import EPOCH, FILE, MetricsFile
from lrsearch.objectives.script_log import Log, LogFile, Printed
from lrsearch.objectives.script_process import ScriptProcess
from lrsearch.objectives.silence import Silence
from lrsearch.objectives.trial import Trial
from lrsearch.recipe import Recipe
from lrsearch.settings import Settings
from lrsearch.states import Outcome
from lrsearch.text.formatting import LAST_PRINTED, plural
from lrsearch.text.yaml import to_yaml
from lrsearch.training.devices import device_label
from lrsearch.training.loop import Stopped
from lrsearch.training.out_of_memory import OomKills, out_of_memory_message

GRACE = 10.0
"""Default of `objective.grace`, in seconds."""
_QUICKEST, _SLOWEST = 0.005, 0.2
"""Seconds between two looks at the files of a script: few after a report, more later."""
_MOST_WAITING = 1000
"""Printed reports that wait to be stored; then the script waits to print more."""
_MOST_WARNINGS = 10
_SIGNALS_TOGETHER = 2.0
"""Seconds within which a worker gets a signal that was sent to its script, too."""
_TORCHRUN = re.compile(r"^E.* failed \(exitcode: (-\d+ \(SIG|-)?.*\n(?=Traceback)", re.MULTILINE)
"""The line after which torchrun writes only of itself; it names a signal if one ended a process."""
_SECRET = "LRSEARCH_STORAGE"
"""A variable that a script does not get: its value may hold a password."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Program:
    """What is special about the program that a command starts."""

    noun: str = "the script"
    """What messages call it."""
    failure: Outcome = Outcome.FAILED
    """What an exit code other than 0 means."""
    startup: float = 0.0
    """Seconds that it may take before its first sign of life, besides `queue.stall_timeout`."""


class CommandObjective(OwnObjective):
    """The user's own script, which is started anew for each training."""

    def __init__(
        self,
        settings: Settings,
        device: torch.device,
        logs: Path | None,
        program: Program = Program(),
    ) -> None:
        """`logs` is the folder of log files; None prints what scripts print.

        Raises UserError if this machine does not have the program or the script.
        """
        self.program = program
        assert settings.objective is not None
        arguments = settings.objective.arguments
        self.settings, self.device, self.logs = settings, device, logs
        self.device_name = device_label(device)
        self.line = CommandLine.parse(arguments["command"], "objective.command", [])
        self.grace = float(arguments.get("grace") or GRACE)
        metrics = dict(arguments.get("metrics") or {})
        self.metrics_file = metrics.pop(FILE, None)
        self.columns = {EPOCH: EPOCH, **metrics}
        check_runnable(self.line)

    def run(
        self,
        recipe: Recipe,
        seed: int,
        report: Report,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> Mapping[str, torch.Tensor] | None:
        """Run the script to its end.

        Raises TrainingEnded where it fails, and otherwise what `report` raises.
        """
        with tempfile.TemporaryDirectory(
            prefix="lrsearch-trial-", ignore_cleanup_errors=True
        ) as folder:
            attempt = Attempt(Path(folder))
            return _Run(self, attempt, recipe, seed, report, should_stop, checkpoints).run()

    def open_log(self, number: int | None, recipe: Recipe, seed: int) -> Log:
        """Open the log of a trial; one of an earlier attempt gets the ending `.old`."""
        if self.logs is None:
            return Printed()
        name = f"trial-{number}"
        if number is None:
            text = json.dumps([recipe.to_dict(), seed], sort_keys=True, default=str)
            name = f"run-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        path = self.logs / f"{name}.log"
        with contextlib.suppress(OSError):
            path.replace(path.with_name(f"{path.name}.old"))
        return LogFile(path)


class _Run:
    """One run of a script."""

    def __init__(
        self,
        objective: CommandObjective,
        attempt: Attempt,
        recipe: Recipe,
        seed: int,
        report: Report,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> None:
        self._objective, self._attempt = objective, attempt
        self._recipe, self._seed = recipe, seed
        self._to_worker = report
        self._report = WithDetails(report)
        self._should_stop = should_stop
        train = objective.settings.train
        self._trial = Trial(
            recipe,
            self._report,
            seed=seed,
            device=objective.device,
            epochs=train.epochs,
            steps=train.steps,
            checkpoint_dir=checkpoints.folder,
            should_stop=should_stop,
            strict_lr=objective.settings.strict_lr,
        )
        self._values: dict[str, Any] = {
            **values_of(recipe),
            "seed": seed,
            "epochs": train.epochs,
            "steps": train.steps,
            "device": train.device,
            "checkpoint_dir": self._trial.checkpoint_dir,
            "recipe_file": str(attempt.recipe),
        }
        self._reports = GrowingFile(attempt.reports)
        self._printed: deque[str] = deque()
        self._warnings = 0
        self._woken = threading.Event()
        self._ended: BaseException | None = None
        """What ends the trial before the script's own end."""
        self._is_told = False
        """Whether the worker must leave the training."""
        self._asks = False
        """Whether the script has asked what to do, and so may leave by itself."""
        self._stop_at = math.inf
        """When SIGTERM is sent."""
        self._silence = Silence(
            objective.settings.queue.stall_timeout, startup=objective.program.startup
        )
        self._calls_at: int | None = None

    def run(self) -> Mapping[str, torch.Tensor] | None:
        objective = self._objective
        self._write_facts()
        log = objective.open_log(self._trial.number, self._recipe, self._seed)
        kills = OomKills()
        file = self._metrics_file()
        self._log = log
        words = command_of(objective.line, self._recipe, self._values, program)
        _log.info("%s", " ".join(words))
        script = ScriptProcess(
            words, self._environment(), self._attempt.folder, objective.grace, self._print
        )
        try:
            while not script.wait(0):
                self._woken.wait(self._pause())
                self._woken.clear()
                self._take(file)
                self._watch(script)
            self._take(file, last=True)
            if self._ended is None and not self._is_told and script.code != 0:
                self._is_told = self._is_told_soon(script.code)
        finally:
            script.kill()
            log.close()
        if isinstance(self._ended, UserError):  # a report that cannot be taken
            raise TrainingEnded(str(self._ended))
        if self._ended is not None:
            raise self._ended
        if self._is_told and (script.code != 0 or self._trial.progress < 1):
            raise Stopped(f"{objective.program.noun} has ended while it was told to stop")
        if script.code != 0:
            raise self._failure(script.code, kills)
        if not self._trial.reported and self._report.rewind(math.inf) == 1:
            raise TrainingEnded(f"{self._no_report(file)}{_last(log)}")
        return self._weights()

    # Beginning

    def _write_facts(self) -> None:
        """Write what the script reads."""
        settings = self._objective.settings
        train = settings.train
        recipe = {"recipe": self._recipe.to_dict(), "seed": self._seed, "epochs": train.epochs}
        recipe |= {} if train.steps is None else {"steps": train.steps}
        self._attempt.recipe.write_text(to_yaml(recipe))
        facts = {
            **recipe,
            "number": self._trial.number,
            "device": train.device,
            "checkpoint_dir": self._values["checkpoint_dir"],
            "strict_lr": settings.strict_lr,
            # A confirmation tests the weights of its runs, whether those of trials are kept or not.
            "keep_weights": train.keep_best > 0 or settings.confirm is not None,
        }
        self._attempt.trial.write_text(json.dumps(facts))
        self._attempt.reports.touch()
        self._attempt.answers.touch()

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name != _SECRET}
        defaults = {
            "OMP_NUM_THREADS": str(self._objective.settings.train.threads),
            "PYTHONUNBUFFERED": "1",  # reports that are printed are to arrive at once
        }
        return {
            **defaults,
            **inherited,
            channel.TRIAL_VARIABLE: str(self._attempt.folder),
            channel.REPORT_VARIABLE: str(self._attempt.reports),
        }

    def _metrics_file(self) -> MetricsFile | None:
        if self._objective.metrics_file is None:
            return None
        path = Argument.parse(self._objective.metrics_file).fill(self._values)
        return MetricsFile(Path(path), self._objective.columns, self._warn)

    # Reports

    def _print(self, text: str) -> None:
        """Take lines that the script has printed; called in the thread that reads them."""
        self._log.write(text)
        for line in channel.printed_messages(text):
            while len(self._printed) >= _MOST_WAITING and self._ended is None and not self._is_told:
                time.sleep(0.01)
            self._printed.append(line)
            self._woken.set()

    def _pause(self) -> float:
        return min(_SLOWEST, max(_QUICKEST, self._silence.seconds / 20))

    def _take(self, file: MetricsFile | None, last: bool = False) -> None:
        """Take all that the script has reported since the last time."""
        while lines := self._reports.lines(last):
            for line in lines:
                try:
                    self._receive(channel.read_message(line), is_answered=True)
                except BadLine as error:
                    self._warn(f"a line of $LRSEARCH_REPORT is left out: {error}")
        while self._printed:
            try:
                message = channel.read_message(self._printed.popleft())
                self._receive(message, is_answered=False)
            except BadLine as error:
                self._warn(f"a printed report is left out: {error}")
        for values in file.reports(last) if file is not None else ():
            self._receive(values, is_answered=False)

    def _receive(self, message: Mapping[str, Any], is_answered: bool) -> None:
        """Act on a message of the script. Raises BadLine."""
        self._silence.broken(is_report=bool({EPOCH, "step"} & message.keys()))
        if message.get("rank"):
            return  # of another rank than the first
        if "warning" in message:
            self._to_worker.warn(str(message["warning"])[:1000])
            return
        if "ended" in message:
            self._asks = True
            self._end_with(ending_of(message))
            return
        if "rewind" in message:
            index = self._report.rewind(
                float(message["rewind"]), float(message.get("step", math.inf))
            )
            channel.append(self._attempt.answers, {"rewind": message["rewind"], "index": index})
            return
        if message.keys() <= {"heartbeat"}:
            return
        self._asks = self._asks or bool(message.get("asks"))
        try:
            values, rates = read(message)
            if self._ended is None:
                self._record(message, values, rates)
        except BadLine:
            if is_answered:
                self._answer(message, Answer.CONTINUE)
            raise
        if is_answered:
            self._answer(message, answer_of(self._ended))

    def _record(
        self, message: Mapping[str, Any], values: dict[str, Any], rates: list[float] | None
    ) -> None:
        """Report an evaluation to the worker, and keep what that raises."""
        epoch, step = values.pop("epoch", None), values.pop("step", None)
        loss, lr = values.pop("val_loss", None), values.pop("lr", None)
        details = details_of(message)
        held = rates if lr is None else [lr]
        if held and "verified" in details:  # its guard has compared them: there is no second one
            details = {"lr_start": tuple(held), **details, "lr_end": tuple(held)}
            held = None
        self._report.details = details
        try:
            self._trial.report(epoch, loss, step=step, lr=held, **values)
        except BaseException as error:  # noqa: BLE001 - raised again when the script has ended
            self._end_with(error)

    def _answer(self, message: Mapping[str, Any], answer: Answer) -> None:
        which = {key: message[key] for key in (EPOCH, "step") if key in message}
        why = {"message": str(self._ended)} if answer == Answer.END else {}
        channel.append(self._attempt.answers, {**which, "answer": str(answer), **why})

    def _warn(self, message: str) -> None:
        self._warnings += 1
        if self._warnings < _MOST_WARNINGS:
            self._to_worker.warn(message)
        elif self._warnings == _MOST_WARNINGS:
            self._to_worker.warn(f"{message} (further warnings are left out)")

    # Ending

    def _watch(self, script: ScriptProcess) -> None:
        """End the script where it is told to stop, has ended its trial, or is silent."""
        self._look_for_life()
        if self._should_stop():
            self._is_told = True
        if self._ended is None and not self._is_told and (limit := self._silence.exceeded()):
            noun = self._objective.program.noun
            printed = self._log.tail.strip("\n")
            before = f"the last of what {noun} printed:\n{printed}\n" if printed.strip() else ""
            self._ended = TrainingEnded(
                f"{before}{noun} has not reported, nor called should_stop or heartbeat, for "
                f"{limit:.0f} s (if it needs longer, set queue.stall_timeout to more seconds)",
                Outcome.CRASHED,
            )
            script.stop()
            return
        if self._ended is None and not self._is_told:
            return
        now = time.monotonic()
        if not self._attempt.stop.exists():
            self._attempt.stop.touch()
            self._stop_at = now + (self._objective.grace if self._asks else 0.0)
        if now >= self._stop_at:
            self._stop_at = math.inf
            script.stop()

    def _end_with(self, error: BaseException) -> None:
        if self._ended is None:
            self._ended = error

    def _look_for_life(self) -> None:
        """Note calls of should_stop and heartbeat."""
        with contextlib.suppress(OSError):
            changed_at = self._attempt.calls.stat().st_mtime_ns
            if changed_at != self._calls_at:
                self._calls_at = changed_at
                self._asks = self._asks or bool(self._attempt.calls.stat().st_size)
                self._silence.broken()

    def _is_told_soon(self, code: int) -> bool:
        """Whether the worker is told to stop, too, where a signal may have ended the script."""
        until = time.monotonic() + (_SIGNALS_TOGETHER if code < 0 else 0.0)
        while not (told := self._should_stop()) and time.monotonic() < until:
            time.sleep(0.05)
        return told

    def _failure(self, code: int, kills: OomKills) -> LrsearchError:
        """The reason of a script's end with another exit code than 0."""
        log, killed, noun = self._log, kills.new(), self._objective.program.noun
        if memory := out_of_memory_message(log.recent):
            return TrainingEnded(f"out of memory: {memory}", Outcome.OUT_OF_MEMORY)
        if killed:
            return TrainingEnded(
                f"out of memory: the kernel killed {plural(killed, 'process')} of {noun} for "
                f"want of memory{_last(log)}",
                Outcome.OUT_OF_MEMORY,
            )
        if code < 0:
            return TrainingEnded(f"{noun} was ended by signal {-code}{_last(log)}", Outcome.CRASHED)
        return TrainingEnded(
            f"{noun} has ended with exit code {code}{_last(log)}", self._objective.program.failure
        )

    def _no_report(self, file: MetricsFile | None) -> str:
        """Why a script that has ended well has no result."""
        if file is None:
            return (
                "the script has ended with exit code 0, but has never reported an evaluation: "
                "call report(epoch, val_loss=...) of lrsearch.current_trial(), or print lines "
                'such as {"lrsearch": {"epoch": 1, "val_loss": 0.3}}'
            )
        there = f"it has the columns {', '.join(file.columns_there)}" if file.columns_there else (
            "it has no rows" if file.exists else "it does not exist"
        )  # fmt: skip
        return (
            f"the script has ended with exit code 0, but no new row of {file.path} (of "
            f"objective.metrics) has a value of each of {', '.join(file.columns)}: {there}"
        )

    def _weights(self) -> Mapping[str, torch.Tensor] | None:
        """What the script gave to `keep_weights` last."""
        if not self._attempt.weights.exists():
            return None
        weights: Mapping[str, torch.Tensor] = torch.load(
            self._attempt.weights, map_location="cpu", weights_only=True
        )
        return weights


def _last(log: Log) -> str:
    """The last part of what a script has printed, for the end of a message."""
    tail = log.tail.strip("\n")
    if ended := _TORCHRUN.search(tail):
        tail = tail[: ended.end() if ended[1] else ended.start()].rstrip("\n")
    return f"; {LAST_PRINTED}\n{tail}" if tail.strip() else "; it printed nothing"
