"""Display of a running sweep: a live table, or plain lines."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from time import monotonic
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lrsearch.analysis.auxiliary_runs import auxiliary_work
from lrsearch.launchers.base import Display
from lrsearch.recipe import Recipe
from lrsearch.settings import MetricSettings, Settings
from lrsearch.states import Outcome, RunKind, WorkState, in_words
from lrsearch.study.progress import AuxiliaryRun, Finished, Running, Snapshot, ranked
from lrsearch.study.time_left import Expected, TimeLeft
from lrsearch.text.formatting import clock, duration, failure_cause, number, plural
from lrsearch.text.sparkline import sparkline

_TRIAL_WIDTH, _EPOCH_WIDTH, _NUMBER_WIDTH = 5, 9, 8
_RATE_DIGITS = 3
"""Digits of a learning rate, with which its exponent fits into the column: `2.24e-05`."""
_SHORTEST_LINE, _LONGEST_LINE = 5, 12
"""Widths of a sparkline."""
_LEAST_RECIPE = 25
"""Width of a recipe, below which the sparklines become shorter first."""
_OWN_ERROR = "lrsearch.errors.UserError: "
"""What Python puts before the message of an error in the use of lrsearch."""
_NOTEBOOK_WIDTH = 150
"""Width of the table in a notebook, in characters."""
_NOTEBOOK_HTML = (
    '<pre style="white-space: pre; overflow-x: auto; line-height: normal; '
    "font-family: Menlo, 'DejaVu Sans Mono', consolas, monospace\">{code}</pre>"
)


@dataclass(frozen=True)
class Shown:
    """What displays know of a sweep besides its progress."""

    metric: MetricSettings = field(default_factory=MetricSettings)
    expected: Expected = field(default_factory=Expected)
    epochs: float | None = None
    """Epochs of a whole training, where all have the same number and it is known."""
    limit: float | None = None
    """Seconds of wall clock that the sweep may take."""
    spent: float = 0.0
    """Seconds of wall clock that it has taken before."""
    workers: int = 0
    """Number of workers; 0 where it is not known."""
    searched: frozenset[str] = frozenset()
    """Names of the parameters that are searched: recipes are described with all of them."""

    @classmethod
    def of(cls, settings: Settings, spent: float, workers: int = 0) -> Shown:
        """Return what the settings of a sweep say."""
        train = settings.train
        is_counted = settings.objective is None and train.steps is None
        return cls(
            metric=settings.metric,
            expected=Expected.of(settings),
            epochs=train.epochs * (settings.data.folds or 1) if is_counted else None,
            limit=settings.study.timeout,
            spent=spent,
            workers=workers,
            searched=settings.space.searched,
        )


class _Tally:
    """Counts and times that all displays show."""

    def __init__(self, sweep: Shown, finished: Iterable[Finished]) -> None:
        self.sweep, self.metric = sweep, sweep.metric
        self.finished = list(finished)
        self._time_left = TimeLeft(sweep.expected, sweep.workers, self.finished)
        self._began = monotonic()
        self.elapsed = sweep.spent
        """Seconds of wall clock that the sweep has taken so far."""
        self.left: float | None = None
        """Seconds that it still takes; None while that is not known."""

    @property
    def best(self) -> Finished | None:
        best = ranked(self.finished, self.metric.mode)
        return best[0] if best else None

    def look(self, snapshot: Snapshot, new: list[Finished]) -> None:
        """Take note of the state, and of the trials that have just ended."""
        now = monotonic()
        self.elapsed = self.sweep.spent + now - self._began
        self.left = self._time_left.look(snapshot, new, now)
        if self.left is not None and self.sweep.limit is not None:
            self.left = min(self.left, max(0.0, self.sweep.limit - self.elapsed))

    def times(self) -> str:
        """Return the time that has passed and the time that is left: `1m20s, about 40s left`."""
        if self.left is None:
            return clock(self.elapsed)
        left = f"about {clock(self.left)} left" if self.left >= 1 else "nearly done"
        return f"{clock(self.elapsed)}, {left}"

    def work(self, snapshot: Snapshot) -> str:
        """Return how many trainings run and workers start: `2 running`, `starting 2 workers`."""
        parts = []
        running = len(snapshot.running) + len(snapshot.auxiliary_running)
        if running or not snapshot.starting:
            parts.append(f"{running} running")
        if snapshot.starting:
            parts.append(f"starting {plural(snapshot.starting, 'worker')}")
        if snapshot.waiting_jobs:
            parts.append(f"{plural(snapshot.waiting_jobs, 'job')} waiting")
        return ", ".join(parts)

    def counts(self) -> str:
        outcomes = Counter(finished.outcome for finished in self.finished)
        early = [outcome for outcome in Outcome if outcome != Outcome.COMPLETE]
        return ", ".join(f"{outcomes[key]} {in_words(key)}" for key in early if outcomes[key])


class PlainDisplay:
    """A line for each trial that ends, for files and pipes."""

    interval = 1.0

    def __init__(self, console: Console, sweep: Shown, finished: Iterable[Finished]) -> None:
        self._console = console
        self.tally = _Tally(sweep, finished)
        self._starting = 0
        """Number of workers whose start has been printed and that have not begun to work."""
        self._waiting = 0
        """Number of waiting jobs at the last update."""
        self._printed: set[tuple[str, int]] | None = None
        """Auxiliary runs whose end has been printed; None before the first update."""

    def update(self, snapshot: Snapshot, new: list[Finished]) -> None:
        self.tally.look(snapshot, new)
        if snapshot.starting > self._starting:
            self.say(f"starting {plural(snapshot.starting, 'worker')}")
        if snapshot.waiting_jobs > self._waiting:
            self.say(f"{plural(snapshot.waiting_jobs, 'job')} waiting for a machine")
        self._waiting = snapshot.waiting_jobs
        self._starting = snapshot.starting
        for finished in new:
            self.tally.finished.append(finished)
            best = self.tally.best
            mark = " *best*" if best is finished else ""
            self.say(
                f"[{len(self.tally.finished)}/{snapshot.total}] trial {finished.trial} "
                f"{in_words(finished.outcome)}{_valued(finished, self.tally.metric)}{mark}  "
                f"{described(finished.recipe, self.tally.sweep.searched)}  "
                f"{duration(finished.seconds or 0)}  ({self.tally.times()})"
            )
            if why := why_failed(finished):
                self.say(f"    {why}")
        self._print_ended(snapshot.auxiliary_runs)

    def _print_ended(self, auxiliary_runs: list[AuxiliaryRun]) -> None:
        """Print a line for each auxiliary run that has ended since the last update.

        A dropped run is printed when all have ended: until then it may still be needed.
        """
        going_on = {run.kind for run in auxiliary_runs if run.state != WorkState.DONE}
        done = {
            (run.kind, run.number): run
            for run in auxiliary_runs
            if run.state == WorkState.DONE
            and not (run.outcome == Outcome.DROPPED and run.kind in going_on)
        }
        printed = set(done) if self._printed is None else set(self._printed)
        for key, run in done.items():
            if key in printed or run.kind == RunKind.RANGE_TEST:
                continue
            printed.add(key)
            place = f"[{run.kind}]"
            if run.outcome != Outcome.DROPPED:
                place = f"[{run.kind} {self._place(run, printed, auxiliary_runs)}]"
            took = "" if run.seconds is None else f"  {duration(run.seconds)}"
            value = "" if run.value is None else f" {number(run.value)}"
            what = "on the test part" if run.kind == RunKind.TEST else f"again, seed {run.seed}"
            times = f"  ({self.tally.times()})" if took else ""
            how = f"{in_words(str(run.outcome))}{value}{took}{times}"
            self.say(f"{place} trial {run.trial} {what}: {how}")
        self._printed = set(done)

    @staticmethod
    def _place(
        run: AuxiliaryRun, printed: set[tuple[str, int]], auxiliary_runs: list[AuxiliaryRun]
    ) -> str:
        """Return how many of the wanted runs of a kind have ended: `7/14`."""
        wanted = [
            other
            for other in auxiliary_runs
            if other.kind == run.kind and other.outcome != Outcome.DROPPED
        ]
        return f"{sum((other.kind, other.number) in printed for other in wanted)}/{len(wanted)}"

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class LiveDisplay:
    """A table redrawn in place: progress, running trials, the best so far."""

    interval = 0.5

    def __init__(self, console: Console, sweep: Shown, finished: Iterable[Finished]) -> None:
        self.tally = _Tally(sweep, finished)
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def update(self, snapshot: Snapshot, new: list[Finished]) -> None:
        self.tally.look(snapshot, new)
        self.tally.finished.extend(new)
        for finished in new:
            if why := why_failed(finished):
                self.say(f"trial {finished.trial} {in_words(finished.outcome)}: {why}")
        self.draw(self.render(snapshot))

    def draw(self, shown: Group) -> None:
        """Draw the display in place of what it showed before."""
        self._live.update(shown, refresh=True)

    def say(self, line: str) -> None:
        self._live.console.print(line, markup=False, highlight=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    @property
    def width(self) -> int:
        """Width in characters."""
        return self._live.console.width

    def render(self, snapshot: Snapshot) -> Group:
        """Return the display as a renderable."""
        tally, done = self.tally, len(self.tally.finished)
        head = Table.grid(padding=(0, 1))
        counts = f" ({tally.counts()})" if tally.counts() else ""
        head.add_row(
            ProgressBar(total=max(snapshot.total, 1), completed=done, width=30),
            f"{done}/{plural(snapshot.total, 'trial')}{counts}, {tally.work(snapshot)}; "
            f"{tally.times()}",
        )
        parts: list[Table | Text] = [head]
        if tally.best is not None:
            parts.append(
                Text.assemble(
                    ("best ", "bold green"),
                    f"trial {tally.best.trial}{_valued(tally.best, tally.metric)}  ",
                    described(tally.best.recipe, tally.sweep.searched),
                )
            )
        if words := auxiliary_work(snapshot.auxiliary_runs):
            parts.append(Text(words, style="bold"))
        if running := [*snapshot.running, *snapshot.auxiliary_running]:
            parts.append(_running_table(running, tally.sweep, self.width))
        return Group(*parts)


class NotebookDisplay(LiveDisplay):
    """The same table below a cell of a notebook, updated in place."""

    interval = 1.0

    def __init__(self, console: Console, sweep: Shown, finished: Iterable[Finished]) -> None:
        super().__init__(console, sweep, finished)
        self._shown: Any = None

    def say(self, line: str) -> None:
        print(line)

    @property
    def width(self) -> int:
        return _NOTEBOOK_WIDTH

    def draw(self, shown: Group) -> None:
        paper = Console(record=True, file=StringIO(), width=_NOTEBOOK_WIDTH, force_jupyter=False)
        paper.print(shown)
        text = paper.export_text(clear=False)
        html = paper.export_html(inline_styles=True, code_format=_NOTEBOOK_HTML)
        bundle = {"text/plain": text, "text/html": html}
        if self._shown is None:
            from IPython import display

            self._shown = display.display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._shown.update(bundle, raw=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def _running_table(running: list[Running], sweep: Shown, width: int) -> Table:
    """Return the table of running trials; a narrow terminal cuts only the recipe.

    A metric that is not one of the two losses takes their place where none has been reported.
    """
    metric = sweep.metric.name
    curves = {
        "train": [[point.train for point in row.curve] for row in running],
        "val": [[point.val for point in row.curve] for row in running],
    }
    is_loss = metric in ("train_loss", "val_loss")
    if not is_loss and all(
        value is None for rows in curves.values() for row in rows for value in row
    ):
        curves = {metric: [[point.value for point in row.curve] for row in running]}
    fixed = _TRIAL_WIDTH + _EPOCH_WIDTH + _NUMBER_WIDTH * (len(curves) + 1) + 2 * (len(curves) + 3)
    room = (width - fixed - _LEAST_RECIPE) // len(curves) - 1
    drawn = min(_LONGEST_LINE, max(_SHORTEST_LINE, room))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("trial", justify="right", no_wrap=True, width=_TRIAL_WIDTH)
    table.add_column("epoch", justify="right", no_wrap=True, width=_EPOCH_WIDTH)
    for name in curves:
        table.add_column(escape(name), no_wrap=True, width=_NUMBER_WIDTH + 1 + drawn)
    table.add_column("lr", justify="right", no_wrap=True, width=_NUMBER_WIDTH)
    left = max(10, width - fixed - len(curves) * (drawn + 1) - 2)
    table.add_column("recipe", no_wrap=True, overflow="ellipsis", max_width=left)
    for index, row in enumerate(running[:20]):
        table.add_row(
            "-" if row.trial is None else str(row.trial),
            at_epoch(row, sweep.epochs),
            *(_with_line(values[index], drawn) for values in curves.values()),
            number(row.lr, _RATE_DIGITS),
            escape(described(row.recipe, sweep.searched)),
        )
    return table


def _with_line(values: Sequence[float | None], width: int) -> Text:
    """Return the last of the values, and all of them as a sparkline."""
    last = number(values[-1] if values else None).rjust(_NUMBER_WIDTH)
    return Text.assemble(last, " ", (sparkline(values, width), "cyan"))


def at_epoch(run: Running, epochs: float | None = None) -> str:
    """Return how far a running training is: `3/6`; `0/6` before its first evaluation.

    `epochs` is its length where that is known before.
    """
    if run.kind == RunKind.TEST:
        return "test"
    whole = epochs or run.whole
    if run.epoch is None:
        return "-" if whole is None else f"0/{number(whole)}"
    return number(run.epoch) if whole is None else f"{number(run.epoch)}/{number(whole)}"


def why_failed(finished: Finished) -> str:
    """Return in one line why a trial failed or diverged without a value; else an empty string."""
    has_no_value = finished.outcome == Outcome.DIVERGED and finished.value is None
    is_told = has_no_value or finished.outcome in (Outcome.FAILED, Outcome.CRASHED)
    return failure_cause(finished.reason).removeprefix(_OWN_ERROR) if is_told else ""


def described(recipe: dict[str, object] | None, searched: Collection[str] = ()) -> str:
    """Describe a stored recipe in one line, with all parameters that were `searched`."""
    return "" if recipe is None else Recipe.from_dict(recipe).describe(searched)


def _valued(finished: Finished, metric: MetricSettings) -> str:
    return "" if finished.value is None else f" {metric.name}={number(finished.value)}"


def make_display(console: Console, sweep: Shown, finished: Iterable[Finished]) -> Display:
    """Create the display that suits the console."""
    if console.is_jupyter and not console.quiet:
        return NotebookDisplay(console, sweep, finished)
    cls = LiveDisplay if console.is_terminal and not console.quiet else PlainDisplay
    return cls(console, sweep, finished)


def make_console(quiet: bool = False) -> Console:
    """Create a console; lines are not wrapped where the output is a file or a pipe.

    With `quiet` it prints nothing.
    """
    width = None if sys.stdout.isatty() else 1000
    return Console(highlight=False, emoji=False, width=width, quiet=quiet)
