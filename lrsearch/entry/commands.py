"""The commands besides `run`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="lrsearch finds the learning-rate recipe of a PyTorch model.",
)


@app.callback()
def _commands() -> None:
    """lrsearch finds the learning-rate recipe of a PyTorch model."""


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="a best.yaml that a sweep has written")],
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, mps")] = None,
    data_root: Annotated[Path | None, typer.Option(help="where the raw data are")] = None,
) -> None:
    """Train one recipe again, and compare with the value that was recorded.

    Example: lrsearch train outputs/mnist/best.yaml
    """
    from lrsearch.entry.train import train_again

    raise SystemExit(train_again(recipe, device, data_root))


@app.command(hidden=True)
def worker(name: Annotated[str, typer.Argument(help="the study")]) -> None:
    """Serve a study of the database in LRSEARCH_STORAGE; started by `run`."""
    from lrsearch.worker import run_worker

    run_worker(name, os.environ["LRSEARCH_STORAGE"])


COMMANDS = tuple(
    command.name or command.callback.__name__
    for command in app.registered_commands
    if command.callback is not None
)
