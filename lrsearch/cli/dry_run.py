"""`dry_run=true`: a page about the sweep: what it searches, some recipes, and what it costs."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from lrsearch.cli.check_sweep import check_machine, check_trial, with_data
from lrsearch.cli.display import make_console
from lrsearch.cli.own_code_calls import own_code_calls
from lrsearch.cli.preview import to_find
from lrsearch.cli.range_test_display import plan_line, range_test_plan
from lrsearch.cli.shown_groups import group_lines_of_sweep
from lrsearch.cli.start_time import start_seconds
from lrsearch.config.metric import mode_warning
from lrsearch.data.spec import DataInfo
from lrsearch.launchers import build_launcher
from lrsearch.settings import Configuration, Settings
from lrsearch.space.names import as_written
from lrsearch.space.summary import summary
from lrsearch.storage.database import open_existing
from lrsearch.study.plan import plan_slots
from lrsearch.study.time_left import Expected, predicted_seconds, usual_share
from lrsearch.study.warm_start import warm_start
from lrsearch.text.formatting import byte_size, clock, duration, percent, plural, the_best

if TYPE_CHECKING:
    from lrsearch.range_test.plan import RampPlan

_RECIPES = 6
_WIDTH = 100
"""Largest width of the rows of a table."""
_TRIED_FIRST = 5
"""Largest number of given settings that are shown."""


def dry_run(configuration: Configuration) -> int:
    """Print the plan; return the exit code. Nothing is stored but the cache of the data.

    Raises what the sweep itself would raise of its settings on this machine.
    """
    launcher = build_launcher(configuration.runtime.launcher)
    check_machine(configuration, launcher)
    settings, runtime = configuration.settings, configuration.runtime
    console = make_console()
    if doubt := mode_warning(settings.metric, settings.train):
        console.print(f"[bold yellow]WARNING: {doubt}[/]", soft_wrap=True)
    settings, info = with_data(settings, console)
    check_trial(settings, info)
    plan = range_test_plan(settings, info)
    planned = plan_slots(settings, _earlier(settings, runtime.storage_url))
    about = f": {settings.description}" if settings.description else ""
    console.print(
        Text.assemble((settings.study.name, "bold"), f"{about} (--cfg job shows every key)")
    )
    _print_rows(console, _facts(settings, info))
    console.print(f"[bold]{plural(len(planned), 'trial')}[/] by {launcher.describe()}")
    if settings.confirm is not None:
        top, seeds = min(settings.confirm.top, len(planned)), settings.confirm.seeds
        best = the_best(top)
        console.print(f"then {best} again on {seeds} fresh seeds: up to {top * seeds} runs")
    for line in (
        *own_code_calls(settings, info),
        *settings.notes,
        *group_lines_of_sweep(settings, info),
    ):
        console.print(line, markup=False, soft_wrap=True)
    console.print("\n[bold]space[/]")
    _print_rows(console, summary(settings.space))
    if plan is not None:
        console.print(f"{to_find(settings.space)}\n{plan_line(plan)}", markup=False)
    _print_recipes(console, settings, [params for params, _ in planned if params])
    console.print()
    if info is None:
        console.print("your own objective is not timed")
    else:
        _print_costs(console, settings, info, plan, len(planned), launcher.most())
    return 0


def _print_costs(
    console: Console,
    settings: Settings,
    info: DataInfo,
    plan: RampPlan | None,
    trials: int,
    workers: int,
) -> None:
    """Measure a few steps of lrsearch's own training, and print what the whole sweep takes."""
    from lrsearch.cli.measured_cost import measured_costs, range_test_seconds

    gpus = settings.train.gpus
    if gpus > 1:
        console.print(f"timed in one process, which does the work of all {gpus:g} in turn")
    start = start_seconds()
    costs = measured_costs(settings, info.n_train)
    for size in sorted({min(costs), max(costs)}):
        cost = costs[size]
        console.print(
            f"  batch {size}: {cost.step_seconds * 1e3:.2f} ms a step, "
            f"{plural(cost.steps, 'step')}, {duration(cost.trial_seconds)} a trial, "
            f"{byte_size(cost.memory)} a worker"
        )
    before = 0.0
    if plan is not None:
        steps = plan.ramps * plan.steps // len(plan.batch_sizes)
        before = range_test_seconds(costs, plan.batch_sizes, steps)
        console.print(f"  the range test: at most {duration(before)}")
    seconds_of = {size: cost.trial_seconds for size, cost in costs.items()}
    search = predicted_seconds(Expected.of(settings), trials, seconds_of, workers)
    share = usual_share(settings.pruner.name)
    pruned = f"; on average a trial trains {percent(share)} of its length" if share < 1 else ""
    memory = byte_size(workers * max(cost.memory for cost in costs.values()))
    console.print(
        f"the whole: about {clock(start + before + search)}, of which {clock(start)} to start"
        f"{pruned}; {memory} of memory"
    )


def _facts(settings: Settings, info: DataInfo | None) -> list[tuple[str, str]]:
    """Return what a sweep trains and how it searches, a row each."""
    train, metric = settings.train, settings.metric
    rows = []
    if info is not None:
        rows.append(("data", f"{info.name} ({info.extent})"))
        rows.append(("model", _called(settings.model.name, settings.model.arguments)))
    length = f"{train.epochs:g} epochs" if train.steps is None else plural(train.steps, "step")
    if train.epochs == 1 and train.steps is None:
        length = "1 epoch"
    better = "lower" if metric.mode == "min" else "higher"
    rows.append(("training", f"{length}; {metric.name}, {settings.counted}, {better} is better"))
    rows.append(("search", f"{settings.sampler.name} sampler, {settings.pruner.name} pruner"))
    return rows


def _called(name: str, arguments: Mapping[str, Any]) -> str:
    words = ", ".join(f"{key}={value}" for key, value in arguments.items())
    return f"{name} ({words})" if words else name


def _print_rows(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two columns; long values are wrapped between words."""
    first = max(len(name) for name, _ in rows) + 4
    for name, value in rows:
        text = textwrap.fill(
            f"  {name}".ljust(first) + value,
            width=min(console.width, _WIDTH),
            subsequent_indent=" " * first,
            break_long_words=False,
            break_on_hyphens=False,
        )
        console.print(text, markup=False, soft_wrap=True)


def _print_recipes(
    console: Console, settings: Settings, given: Sequence[Mapping[str, Any]]
) -> None:
    """Print some random recipes of the space, and the settings that are tried first."""
    rng = random.Random(settings.study.seed)
    console.print(f"\n[bold]{_RECIPES} recipes of this space[/]")
    for _ in range(_RECIPES):
        recipe = settings.space.sample(rng)
        console.print(
            f"  {recipe.describe(settings.space.searched)}",
            markup=False,
            no_wrap=True,
            overflow="ellipsis",
        )
    if given:
        console.print("\n[bold]tried first, as far as given[/]")
        for params in given[:_TRIED_FIRST]:
            words = (f"{name}={value}" for name, value in as_written(params).items())
            console.print(f"  {' '.join(words)}", markup=False)
        if len(given) > _TRIED_FIRST:
            console.print(f"  and {len(given) - _TRIED_FIRST} more")


def _earlier(settings: Settings, storage_url: str) -> Sequence[Mapping[str, Any]]:
    """The parameters of trials that `study.warm_start` takes from another study."""
    if settings.study.warm_start is None:
        return ()
    database = open_existing(storage_url)
    try:
        return warm_start(settings, database).parameters
    finally:
        database.close()
