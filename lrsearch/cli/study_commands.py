"""Commands that show or extend a study, and those that help to prepare one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.completion import shell_complete

from lrsearch.cli import completion as complete
from lrsearch.errors import UserError

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME] [storage.url=...]",
        help="the study, and its database",
        autocompletion=complete.studies,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="for programs: JSON on standard output")]


def status(
    names: Names = None,
    watch: Annotated[bool, typer.Option("--watch", help="until it is done, or Ctrl-C")] = False,
    as_json: AsJson = False,
    tag: Annotated[
        list[str] | None, typer.Option(help="studies with this tag; may be repeated: with all")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="studies of this owner")] = None,
) -> None:
    """Show the studies of a database, or one of them: what is done, what runs, what is wrong.

    Example: lrsearch status mnist --watch, or: lrsearch status --owner ada --tag nightly
    """
    from lrsearch.cli.status import show_status

    raise SystemExit(show_status(names or [], watch, as_json, tag or [], owner))


def best(
    names: Names = None,
    form: Annotated[
        Literal["text", "yaml", "python"] | None,
        typer.Option("--format", help="yaml: as best.yaml; python: a script like best.py"),
    ] = None,
    trial: Annotated[int | None, typer.Option(min=0, help="another complete trial")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the best recipe of a study, its value, and how to train it again.

    Example: lrsearch best mnist --format python > best.py
    """
    from lrsearch.cli.best import show_best

    if as_json and form is not None:
        raise UserError(f"--format {form} and --json are two forms: give one of them")
    show_best(names or [], trial, "json" if as_json else form or "text")


def show(
    trial: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME TRIAL [storage.url=...]",
            help="a study, and a trial of it",
            autocompletion=complete.studies,
        ),
    ] = None,
    as_json: AsJson = False,
    log: Annotated[
        bool, typer.Option("--log", help="what the trial's script has printed, and nothing else")
    ] = False,
) -> None:
    """Show one trial: its recipe, how it ended and why, its curves and all evaluations.

    Example: lrsearch show mnist 7
    """
    from lrsearch.cli.show import show_trial

    if as_json and log:
        raise UserError("--log and --json are two forms: give one of them")
    show_trial(trial or [], as_json, log)


def compare(
    trials: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME TRIAL TRIAL ... [storage.url=...]",
            help="trials of a study",
            autocompletion=complete.studies,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show trials side by side: where their recipes differ, their values and curves.

    Example: lrsearch compare mnist 3 7 12
    """
    from lrsearch.cli.show import compare_trials

    compare_trials(trials or [], as_json)


def export(
    names: Names = None,
    form: Annotated[
        Literal["csv", "json"],
        typer.Option("--format", help="csv: two files; json: one document"),
    ] = "csv",
    output: Annotated[
        Path | None,
        typer.Option(help="csv: a folder (default: outputs/NAME); json: a file (default: stdout)"),
    ] = None,
) -> None:
    """Write all trials and evaluations of a study for other programs, to the last digit.

    Example: lrsearch export mnist --format json > mnist.json
    """
    from lrsearch.cli.export import export_study

    export_study(names or [], form, output)


def try_(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME key=value ... [storage.url=...]",
            help="a study, and a setting as in study.try_first",
            autocompletion=complete.studies,
        ),
    ] = None,
) -> None:
    """Queue a setting by hand as the next trial of a study; the sampler suggests the rest.

    Example: lrsearch try mnist lr=0.1 scheduler=cosine cosine.final=0.01
    """
    from lrsearch.cli.try_setting import try_setting

    try_setting(words or [])


def preview(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="+sweep=NAME | scheduler=NAME key=value ...",
            help="a sweep, with any key=value; or lr, warmup, epochs, steps, eval_every and the "
            "scheduler's own parameters",
            autocompletion=complete.settings,
        ),
    ] = None,
    steps_per_epoch: Annotated[
        int | None, typer.Option(min=1, help="default: as the sweep's data have it, or 100")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="a picture, too: .png or .svg")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw learning-rate curves before any compute is spent: a setting's, or a dozen of a sweep's.

    Example: lrsearch preview scheduler=cosine lr=0.1 warmup=0.05 epochs=20 final=0.01
    """
    from lrsearch.cli.preview import preview as draw

    draw(words or [], steps_per_epoch, output, as_json)


def range_test(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="+sweep=NAME key=value ...",
            help="a sweep, with any key=value",
            autocompletion=complete.settings,
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="a picture, too: .png or .svg")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the learning rates that train: short trainings at a rising rate, for each optimizer.

    It takes no longer than one trial, stores nothing, and prints ranges to paste into a sweep.
    With space.lr=auto a sweep does this itself, before its first trial.

    Example: lrsearch range-test +sweep=mnist model=cnn
    """
    from lrsearch.cli.range_test import range_test as test

    test(words or [], output, as_json)


def sweeps(as_json: AsJson = False) -> None:
    """List the sweeps that can be run.

    Example: lrsearch sweeps
    """
    from lrsearch.cli.sweeps import list_sweeps

    list_sweeps(as_json)


def completion(ctx: typer.Context, shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print a script that completes commands, studies, sweeps and settings in a shell.

    Example: source <(lrsearch completion bash)
    """
    root = ctx.find_root()
    shell_complete(root.command, {}, root.info_name or "", complete.VARIABLE, f"source_{shell}")


def add_to(app: typer.Typer) -> None:
    """Register the commands with the application."""
    app.command()(status)
    app.command()(best)
    app.command()(show)
    app.command()(compare)
    app.command()(export)
    app.command(name="try")(try_)
    app.command()(preview)
    app.command(name="range-test")(range_test)
    app.command()(sweeps)
    app.command()(completion)
