"""`range-test`: which learning rates train, before a sweep."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lrsearch.analysis.rate_ranges import HEADERS, plan_sentence, rows
from lrsearch.analysis.sentences import say
from lrsearch.cli.arguments import print_json
from lrsearch.cli.check_sweep import check_trial, with_data
from lrsearch.cli.preview import prepare_picture, save
from lrsearch.cli.table import text_lines
from lrsearch.errors import ConfigErrors, LrsearchError, UserError
from lrsearch.range_test.result import RangeTest
from lrsearch.settings import Settings
from lrsearch.space.space import Space
from lrsearch.text.yaml import to_yaml

USAGE = "range-test +sweep=NAME [key=value ...]"


def range_test(arguments: Sequence[str], output: Path | None, as_json: bool) -> None:
    """Run the range test and show its results; nothing is stored. Raises UserError."""
    from lrsearch.cli.compose import load_settings

    if not arguments:
        raise UserError(f"name a sweep: lrsearch {USAGE}")
    settings = load_settings(arguments)
    if settings.objective is not None:
        raise ConfigErrors(
            [
                "objective: a range test needs lrsearch's own training, which it does ramps with; "
                "your own function or script is not run with a schedule that rises step by step"
            ]
        )
    kind = None if output is None else prepare_picture(output)
    messages = Console(stderr=True, highlight=False, emoji=False)
    test = _run(settings, messages)
    if as_json:
        print_json({**test.to_json(), "suggested": _suggested(test)})
    else:
        _show(test, settings.space)
    if output is not None and kind is not None:
        from lrsearch.plots.static.range_test import as_file

        save(output, as_file(test, f"range test of the sweep {settings.sweep}", kind))
        if not as_json:
            print(output)


def _run(settings: Settings, console: Console) -> RangeTest:
    """Run all ramps, with their progress on the standard error."""
    settings, info = with_data(settings, console)
    assert info is not None, "lrsearch's own training has data"
    check_trial(settings, info)
    for note in settings.notes:
        console.print(note, markup=False, soft_wrap=True)
    from lrsearch.objectives.build import build_objective
    from lrsearch.objectives.builtin import TrainingObjective
    from lrsearch.range_test.plan import plan_ramps
    from lrsearch.range_test.ramp import run_ramps

    plan = plan_ramps(settings, info.n_train, list(settings.space.optimizer))
    console.print(plan_sentence(plan), soft_wrap=True)
    objective = build_objective(settings, info.to_json())
    if not isinstance(objective, TrainingObjective):
        raise LrsearchError("only lrsearch's own training can be ramped")
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    started = time.perf_counter()
    ramps = []
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("ramps", total=plan.ramps)
        for ramp in run_ramps(objective, plan, lambda: False):
            ramps.append(ramp)
            progress.update(
                bar, advance=1, description=f"{ramp.optimizer}, batch {ramp.batch_size}"
            )
    if not ramps:
        raise LrsearchError("the device has no memory for any of the batch sizes")
    seconds = time.perf_counter() - started
    return RangeTest(tuple(ramps), plan.trial_samples, seconds, settings.space.coupling, {})


def _show(test: RangeTest, space: Space) -> None:
    from lrsearch.cli.display import make_console
    from lrsearch.plots.static.range_test import in_text
    from lrsearch.plots.terminal import paper
    from lrsearch.text.formatting import duration

    print(in_text(test, paper()))
    print()
    print("\n".join(text_lines([HEADERS, *rows(test)], make_console().width)))
    print()
    print("\n".join(say(test)))
    print(f"It took {duration(test.seconds)}.")
    if suggested := _suggested(test):
        print(f"\nFor a sweep {_by_itself(space, test.optimizers)}:\n")
        print(to_yaml({"space": suggested}, default_flow_style=None))


def _by_itself(space: Space, optimizers: Sequence[str]) -> str:
    """The overrides with which a sweep runs the range test itself."""
    known = [name for name in optimizers if name not in space.to_find.values()]
    own = {name: "lr" in space.optimizer[name] for name in known}
    keys = [f"space.optimizer.{name}.lr=auto" if own[name] else "space.lr=auto" for name in known]
    words = " ".join(dict.fromkeys(keys))
    if not words:
        return "(yours, as it is, does all this by itself)"
    return f"(or {words}, which does all this by itself)"


def _suggested(test: RangeTest) -> dict[str, object]:
    """The part of a space that holds the range of each optimizer."""
    ranges = {name: test.suggested(name) for name in test.optimizers}
    known = {
        name: {"lr": domain.to_dict()} for name, domain in ranges.items() if domain is not None
    }
    return {"optimizer": known} if known else {}
