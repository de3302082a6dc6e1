"""The trial that a script is run for: its side of the channel to the worker."""

from __future__ import annotations

import atexit
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from lrsearch.errors import LrsearchError, TrialPruned, UserError
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.base import Report, TrainingEnded
from lrsearch.objectives.by_hand import PrintedReport
from lrsearch.objectives.channel import (
    MEASURED,
    RECIPE_VARIABLE,
    TRIAL_VARIABLE,
    Answer,
    Attempt,
    Calls,
    GrowingFile,
    append,
    wait_for,
)
from lrsearch.objectives.trial import Trial
from lrsearch.recipe import Recipe
from lrsearch.seeds import seed_everything
from lrsearch.text.yaml import read_file
from lrsearch.training.devices import resolve_device
from lrsearch.training.loop import Diverged, OutOfMemory, Stopped
from lrsearch.training.out_of_memory import out_of_memory_cause

PATIENCE = 600.0
"""Seconds for which a rank waits in `should_stop` for rank 0, which may be evaluating."""
_SLOWEST_LOOK = 0.02
"""Longest time in seconds between two looks at a file."""
_OPTION = "--recipe"


def current_trial(
    defaults: Recipe | Mapping[str, Any] | str | Path | None = None,
) -> Trial:
    """Return the trial that this script is run for by lrsearch.

    Run by hand, the script trains with the recipe of `--recipe best.yaml` among its arguments, or
    of the file that $LRSEARCH_RECIPE names, or else with `defaults`: a Recipe, a mapping as in a
    `best.yaml`, or the path of one. Then reports are printed, and nothing ends the training.

    The generators of Python, NumPy and torch are seeded by `trial.seed`. With several ranks (the
    variables RANK and WORLD_SIZE of torchrun) each gets the same trial; reports of other ranks
    than the first are ignored, and `should_stop` says the same on all of them if all call it.

    Raises UserError by hand without `--recipe` and `defaults`, and for a recipe that cannot be
    read.
    """
    ranks = _Ranks.of_environment()
    folder = os.environ.get(TRIAL_VARIABLE)
    if folder is None:
        return _by_hand(defaults, ranks)
    attempt = Attempt(Path(folder))
    try:
        facts = json.loads(attempt.trial.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"${TRIAL_VARIABLE} names no trial ({folder}: {error}); lrsearch sets it for scripts "
            f"that it starts: unset it to run one by hand"
        ) from None
    channel = _Channel(attempt, facts, ranks)
    sys.excepthook = _quietly(sys.excepthook)
    recipe = Recipe.from_dict(facts["recipe"])
    return ScriptTrial(recipe, channel, ranks, facts, channel.should_stop)


@dataclass(frozen=True)
class _Ranks:
    """The place of this process among those of a launcher such as torchrun."""

    rank: int = 0
    local_rank: int = 0
    count: int = 1

    @classmethod
    def of_environment(cls) -> _Ranks:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
        rank, local, count = (os.environ.get(name, "") for name in names)
        if not rank and os.environ.get("NODE_RANK", "0") == "0":
            rank = local  # Lightning starts further ranks of one machine without RANK
        if not (rank.isdigit() and count.isdigit()):
            return cls()
        return cls(int(rank), int(local) if local.isdigit() else 0, int(count))

    def device(self, name: str) -> torch.device:
        """The device of this rank, where `name` is a device of a configuration."""
        device = resolve_device("cuda" if name.startswith("cuda") and self.count > 1 else name)
        if device.type == "cuda" and self.count > 1:
            return torch.device("cuda", self.local_rank)
        return device


class ScriptTrial(Trial):
    """A trial in a process of a script."""

    def __init__(
        self,
        recipe: Recipe,
        report: Report,
        ranks: _Ranks,
        facts: Mapping[str, Any],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """`facts` may hold arguments of `Trial`, by their names."""
        super().__init__(
            recipe,
            report,
            seed=int(facts.get("seed", 0)),
            device=ranks.device(str(facts.get("device", "auto"))),
            epochs=facts.get("epochs", 1),
            steps=facts.get("steps"),
            checkpoint_dir=str(facts.get("checkpoint_dir", "checkpoints")),
            should_stop=should_stop,
            strict_lr=bool(facts.get("strict_lr")),
        )
        self._ranks = ranks
        # By hand there may be no configuration whose length the training could exceed.
        self._is_warned = not {"epochs", "steps"} & facts.keys()
        self.channel = report if isinstance(report, _Channel) else None
        """The way to the worker; None by hand."""
        seed_everything(self.seed)
        atexit.register(self._finish)

    def report(
        self, epoch: float | None = None, val_loss: float | None = None, **further: Any
    ) -> None:
        """Report one evaluation, as `Trial.report` does; without effect on other ranks than 0."""
        if self._ranks.rank:
            return
        try:
            super().report(epoch, val_loss, **further)
        except Exception as error:
            # What is wrong with a report is found out here, before it is sent.
            if self.channel is not None:
                self.channel.ended(error)
            raise

    def _finish(self) -> None:
        """Compare, at the end of the script, the end of the schedule with that of the training."""
        if not self.reported or self._ended is not None:
            return
        try:
            self._warn_of_lr(self.guard.ended(self.progress))
        except UserError as error:
            if self.channel is not None:
                self.channel.ended(error)

    def keep_weights(self, weights: torch.nn.Module | Mapping[str, torch.Tensor]) -> None:
        """Give weights as the trial's, as `Trial.keep_weights` does; those of rank 0 count."""
        if self._ranks.rank:
            return
        super().keep_weights(weights)
        if self.channel is not None and self.weights is not None:
            self.channel.keep(self.weights)


class _Channel:
    """The script's side of the channel; the `Report` of its trial."""

    def __init__(self, attempt: Attempt, facts: Mapping[str, Any], ranks: _Ranks) -> None:
        self.number: int | None = facts["number"]
        self._attempt, self._ranks = attempt, ranks
        self._keeps_weights = bool(facts.get("keep_weights"))
        self._answers = GrowingFile(attempt.answers)
        self._arrived: list[str] = []
        self._calls = Calls(attempt.calls)
        self._count = 0
        self._stop_at = 0
        self._patience = PATIENCE
        self._told: BaseException | None = None

    def __call__(self, evaluation: Evaluation) -> None:
        """Send an evaluation, wait for the answer, and raise what it says."""
        message = {
            "epoch": evaluation.epoch,
            "step": evaluation.step,
            "lr": list(evaluation.lr_end),
            "metrics": dict(evaluation.values),
            "groups": list(evaluation.groups),
            "verified": evaluation.verified,
            "asks": True,
            "details": {name: getattr(evaluation, name) for name in MEASURED},
        }
        answer = self._ask(message)
        word = answer.get("answer")
        if word == Answer.CONTINUE:
            return
        self._leave_together()
        if word == Answer.PRUNE:
            self._told = TrialPruned("lrsearch has pruned this trial")
        elif word == Answer.STOP and self._ranks.count > 1:
            return  # should_stop says so to all ranks, which then leave together
        elif word == Answer.STOP:
            self._told = Stopped("lrsearch must leave this trial: another worker goes on with it")
        else:
            self._told = TrainingEnded(str(answer.get("message", "lrsearch has ended this trial")))
        raise self._told

    def warn(self, message: str) -> None:
        """Send a warning."""
        append(self._attempt.reports, {"warning": message})

    def progress(self) -> None:
        """Show that the script is alive."""
        self._calls.touch()

    def restore(self, history: Sequence[Evaluation]) -> None:
        """Do nothing: a script restores its training by itself."""

    def rewind(self, epoch: float, step: float = math.inf) -> int:
        """Have the evaluations of earlier attempts from `epoch` or `step` on dropped."""
        return int(self._ask({"rewind": epoch, "step": step}).get("index", 1))

    def ended(self, error: BaseException) -> None:
        """Say that an error ends the training, unless the worker has said so."""
        if error is self._told:
            return
        is_ours = isinstance(error, LrsearchError | OutOfMemory)
        why = str(error) if is_ours else "".join(traceback.format_exception(error))
        message: dict[str, Any] = {"ended": "failed", "message": why}
        if isinstance(error, Diverged):
            message |= {"ended": "diverged", "step": error.step, "lr": error.lr, "loss": error.loss}
        elif isinstance(error, OutOfMemory):
            message["ended"] = "out of memory"
        elif cause := out_of_memory_cause(error):
            message |= {"ended": "out of memory", "message": f"out of memory: {cause}"}
        append(self._attempt.reports, message)
        self._leave_together()

    def keep(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Write the weights for the worker."""
        if self._keeps_weights:
            path = self._attempt.weights
            torch.save(dict(weights), path.with_name("weights.new"))
            path.with_name("weights.new").replace(path)

    def should_stop(self) -> bool:
        """Whether to leave the training: the same at the nth call on every rank."""
        self._count += 1
        if self._ranks.rank == 0:
            if not self._stop_at and self._attempt.stop.exists():
                self._stop_at = self._count
            self._calls.write(self._count, self._stop_at)
            return bool(self._stop_at)
        if not wait_for(self._is_decided, self._patience, _SLOWEST_LOOK):
            self._patience = 0.0
            print(
                f"warning: rank {self._ranks.rank} has called should_stop {self._count} times, "
                f"and rank 0 {self._calls.read()[0]} times: call it on all ranks",
                file=sys.stderr,
                flush=True,
            )
        return 0 < self._calls.read()[1] <= self._count

    def _is_decided(self) -> bool:
        """Whether rank 0 has decided what this call of should_stop says."""
        calls, stop_at = self._calls.read()
        return calls >= self._count or 0 < stop_at <= self._count

    def _leave_together(self) -> None:
        """Have the other ranks leave at their next call of should_stop."""
        if not self._stop_at:
            self._stop_at = self._count + 1
            self._calls.write(self._count, self._stop_at)

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send a message and wait for its answer, as long as the worker lives.

        The end of the worker ends this process, too.
        """
        append(self._attempt.reports, message)

        def has_arrived() -> bool:
            self._arrived += self._answers.lines()
            return bool(self._arrived) or not self._attempt.folder.exists()

        wait_for(has_arrived, math.inf, _SLOWEST_LOOK)
        if not self._arrived:
            raise Stopped("the worker of this trial has left it")
        answer: dict[str, Any] = json.loads(self._arrived.pop(0))
        return answer


def _by_hand(
    defaults: Recipe | Mapping[str, Any] | str | Path | None, ranks: _Ranks
) -> ScriptTrial:
    given = _option(sys.argv[1:]) or os.environ.get(RECIPE_VARIABLE)
    if given is None and defaults is None:
        raise UserError(
            f"this script is not run by lrsearch: give it {_OPTION} best.yaml, or give "
            f"current_trial(defaults=...) a recipe"
        )
    source = given if given is not None else defaults
    assert source is not None
    if isinstance(source, Recipe):
        return ScriptTrial(source, PrintedReport(), ranks, {})
    if isinstance(source, str | Path):
        recipe, plain = Recipe.from_file(source), read_file(Path(source))
    else:
        plain = source
        inner = plain.get("recipe")
        recipe = Recipe.from_dict(inner if isinstance(inner, Mapping) else plain)
    config = plain.get("config")
    train = config.get("train") if isinstance(config, Mapping) else None
    facts = {**(train if isinstance(train, Mapping) else {}), **plain}
    kept = ("seed", "epochs", "steps", "device")
    known = {key: facts[key] for key in kept if isinstance(facts.get(key), int | float | str)}
    return ScriptTrial(recipe, PrintedReport(), ranks, known)


def _option(arguments: Sequence[str]) -> str | None:
    """The file that `--recipe FILE` or `--recipe=FILE` names; the last one counts."""
    given = None
    for at, word in enumerate(arguments):
        if word == _OPTION and at + 1 < len(arguments):
            given = arguments[at + 1]
        elif word.startswith(f"{_OPTION}="):
            given = word.partition("=")[2]
    return given


def _quietly(hook: Any) -> Any:
    """An excepthook that writes one line instead of a traceback where lrsearch ends a trial."""

    def quiet(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, TrialPruned | Stopped):
            print(f"{kind.__name__}: {error}", file=sys.stderr)
        else:
            hook(kind, error, traceback)

    return quiet
