"""Display of a running sweep: a live table, or plain lines."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterable
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
from lrsearch.settings import MetricSettings
from lrsearch.states import Outcome, RunKind, WorkState, in_words
from lrsearch.study.progress import AuxiliaryRun, Finished, Running, Snapshot, ranked
from lrsearch.text.formatting import duration, failure_cause, number, plural

_TRIALS_FOR_A_PACE = 4
_NUMBER_WIDTH = 9
_OWN_ERROR = "lrsearch.errors.UserError: "
"""What Python puts before the message of an error in the use of lrsearch."""
_NOTEBOOK_WIDTH = 150
"""Width of the table in a notebook, in characters."""
_NOTEBOOK_HTML = (
    '<pre style="white-space: pre; overflow-x: auto; line-height: normal; '
    "font-family: Menlo, 'DejaVu Sans Mono', consolas, monospace\">{code}</pre>"
)


class _Tally:
    """Counts and estimates that both displays show."""

    def __init__(self, metric: MetricSettings, finished: Iterable[Finished]) -> None:
        self.metric = metric
        self.finished = list(finished)
        self._new: list[Finished] = []
        self._began = monotonic()

    @property
    def best(self) -> Finished | None:
        best = ranked(self.finished, self.metric.mode)
        return best[0] if best else None

    def look(self, snapshot: Snapshot, new: list[Finished]) -> None:
        """Start the clock at the first trial: start-up and range test do not count for the pace."""
        if not (self._new or new or snapshot.running):
            self._began = monotonic()

    def add(self, new: list[Finished]) -> None:
        """Add the trials that have just ended."""
        self.finished.extend(new)
        self._new.extend(new)

    def time_left(self, total: int) -> str:
        """Say, after a comma, the time left by the pace so far; nothing while that is unknown."""
        whole = any(finished.outcome == Outcome.COMPLETE for finished in self._new)
        if len(self._new) < _TRIALS_FOR_A_PACE or not whole:
            return ""
        pace = (monotonic() - self._began) / len(self._new)
        return f", {duration(pace * (total - len(self.finished)))} left"

    def counts(self) -> str:
        outcomes = Counter(finished.outcome for finished in self.finished)
        early = [outcome for outcome in Outcome if outcome != Outcome.COMPLETE]
        return ", ".join(f"{outcomes[key]} {in_words(key)}" for key in early if outcomes[key])


class PlainDisplay:
    """A line for each trial that ends, for files and pipes."""

    interval = 1.0

    def __init__(
        self, console: Console, metric: MetricSettings, finished: Iterable[Finished]
    ) -> None:
        self._console = console
        self._tally = _Tally(metric, finished)
        self._printed: set[tuple[str, int]] | None = None
        """Auxiliary runs whose end has been printed; None before the first update."""

    def update(self, snapshot: Snapshot, new: list[Finished]) -> None:
        self._tally.look(snapshot, new)
        for finished in new:
            self._tally.add([finished])
            best = self._tally.best
            mark = " *best*" if best is finished else ""
            self.say(
                f"[{len(self._tally.finished)}/{snapshot.total}] trial {finished.trial} "
                f"{finished.outcome}{_valued(finished, self._tally.metric)}{mark}  "
                f"{described(finished.recipe)}  "
                f"{duration(finished.seconds or 0)}{self._tally.time_left(snapshot.total)}"
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
            self.say(f"{place} trial {run.trial} {what}: {run.outcome}{value}{took}")
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

    def __init__(
        self, console: Console, metric: MetricSettings, finished: Iterable[Finished]
    ) -> None:
        self._tally = _Tally(metric, finished)
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def update(self, snapshot: Snapshot, new: list[Finished]) -> None:
        self._tally.look(snapshot, new)
        self._tally.add(new)
        for finished in new:
            if why := why_failed(finished):
                self.say(f"trial {finished.trial} {finished.outcome}: {why}")
        self._live.update(self.render(snapshot), refresh=True)

    def say(self, line: str) -> None:
        self._live.console.print(line, markup=False, highlight=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def render(self, snapshot: Snapshot) -> Group:
        """Return the display as a renderable."""
        tally, done = self._tally, len(self._tally.finished)
        head = Table.grid(padding=(0, 1))
        counts = f" ({tally.counts()})" if tally.counts() else ""
        head.add_row(
            ProgressBar(total=max(snapshot.total, 1), completed=done, width=30),
            f"{done}/{plural(snapshot.total, 'trial')}{counts}, {len(snapshot.running)} running"
            f"{tally.time_left(snapshot.total)}",
        )
        parts: list[Table | Text] = [head]
        if tally.best is not None:
            parts.append(
                Text.assemble(
                    ("best ", "bold green"),
                    f"trial {tally.best.trial}{_valued(tally.best, tally.metric)}  ",
                    described(tally.best.recipe),
                )
            )
        if words := auxiliary_work(snapshot.auxiliary_runs):
            parts.append(Text(words, style="bold"))
        if running := [*snapshot.running, *snapshot.auxiliary_running]:
            metric, width = self._tally.metric.name, self._live.console.width
            parts.append(_running_table(running, metric, width))
        return Group(*parts)


class NotebookDisplay(LiveDisplay):
    """The same table below a cell of a notebook, updated in place."""

    interval = 1.0

    def __init__(
        self, console: Console, metric: MetricSettings, finished: Iterable[Finished]
    ) -> None:
        super().__init__(console, metric, finished)
        self._shown: Any = None

    def update(self, snapshot: Snapshot, new: list[Finished]) -> None:
        self._tally.look(snapshot, new)
        self._tally.add(new)
        for finished in new:
            if why := why_failed(finished):
                self.say(f"trial {finished.trial} {finished.outcome}: {why}")
        self._draw(self.render(snapshot))

    def say(self, line: str) -> None:
        print(line)

    def _draw(self, table: Group) -> None:
        paper = Console(record=True, file=StringIO(), width=_NOTEBOOK_WIDTH, force_jupyter=False)
        paper.print(table)
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


def _running_table(running: list[Running], metric: str, width: int) -> Table:
    """Return the table of running trials; a narrow terminal cuts only the recipe.

    A metric that is not one of the two losses takes their place where none has been reported.
    """
    values = {
        "train": [row.train_loss for row in running],
        "val": [row.val_loss for row in running],
    }
    is_loss = metric in ("train_loss", "val_loss")
    if not is_loss and all(value is None for losses in values.values() for value in losses):
        values = {metric: [row.value for row in running]}
    numbers = ("trial", "epoch", *values, "lr")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in numbers:
        table.add_column(escape(name), justify="right", no_wrap=True, width=_NUMBER_WIDTH)
    left = max(10, width - len(numbers) * (_NUMBER_WIDTH + 2) - 2)
    table.add_column("recipe", no_wrap=True, overflow="ellipsis", max_width=left)
    for index, row in enumerate(running[:20]):
        table.add_row(
            "-" if row.trial is None else str(row.trial),
            "-" if row.epoch is None else f"{row.epoch:g}",
            *(number(shown[index]) for shown in values.values()),
            number(row.lr),
            escape(described(row.recipe)),
        )
    return table


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


def make_display(console: Console, metric: MetricSettings, finished: Iterable[Finished]) -> Display:
    """Create the display that suits the console."""
    if console.is_jupyter and not console.quiet:
        return NotebookDisplay(console, metric, finished)
    cls = LiveDisplay if console.is_terminal and not console.quiet else PlainDisplay
    return cls(console, metric, finished)


def make_console(quiet: bool = False) -> Console:
    """Create a console; lines are not wrapped where the output is a file or a pipe.

    With `quiet` it prints nothing.
    """
    width = None if sys.stdout.isatty() else 1000
    return Console(highlight=False, emoji=False, width=width, quiet=quiet)
