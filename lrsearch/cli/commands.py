"""The commands besides `run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lrsearch.cli import completion as complete
from lrsearch.cli import study_commands
from lrsearch.cli.study_commands import Names
from lrsearch.text.redaction import redacted


class Commands(TyperGroup):
    """The commands, beside the default one, whose words are completed, too.

    Usage errors are redacted before they are broken into lines of a box.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return what a word may become: a command, or what `run` and `submit` take."""
        words = ctx.meta[_WORDS]
        if incomplete.startswith("-"):
            return [complete.Word(name) for name in _OPTIONS if name.startswith(incomplete)]
        completions = complete.setting_words(words, incomplete)
        if words:
            return [complete.Word(word) for word in completions]
        if not incomplete:  # all settings would hide the commands
            completions = [word for word in completions if word.startswith("+")]
        hydras = [name for name in _DEFAULT if name.startswith(incomplete)]
        return [
            *super().shell_complete(ctx, incomplete),
            *map(complete.Word, [*hydras, *completions]),
        ]

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(message := getattr(error, "message", None), str):
                vars(error)["message"] = redacted(message)
            raise


_WORDS = "lrsearch.words"
_DEFAULT = ("run", "submit")
"""Commands with Hydra's arguments, which do not go through Typer."""
_OPTIONS = ("--help", "--version", "--cfg")

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="lrsearch finds the learning-rate recipe of a PyTorch model.",
)

Places = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[storage.url=...] [storage.checkpoints=...] [data.root=...]",
        help="where things are on this machine; default: LRSEARCH_STORAGE and so on",
    ),
]


@app.callback()
def _commands() -> None:
    """lrsearch finds the learning-rate recipe of a PyTorch model."""


@app.command()
def train(
    recipe: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|FILE [storage.url=...]",
            help="a study, or a best.yaml that a sweep has written",
            autocompletion=complete.studies,
        ),
    ] = None,
    trial: Annotated[
        int | None, typer.Option(min=0, help="of the study; the best if not given")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="another length than the recorded")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, mps")] = None,
    data_root: Annotated[Path | None, typer.Option(help="where the raw data are")] = None,
) -> None:
    """Train one recipe again, and compare with the value that was recorded.

    Example: lrsearch train mnist --trial 7, or: lrsearch train outputs/mnist/best.yaml
    """
    from lrsearch.cli.train import train_again

    raise SystemExit(train_again(recipe or [], trial, epochs, device, data_root))


@app.command()
def worker(
    places: Places = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            help="serve this study, and no others; may be repeated",
            autocompletion=complete.studies,
        ),
    ] = None,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="end when nothing is left that it can do")
    ] = False,
    idle_timeout: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="end after that long without work; by default, with --until-empty in a job of a "
            "cluster, as soon as nothing is open and two others are at work",
        ),
    ] = None,
    heartbeat_file: Annotated[
        Path | None,
        typer.Option(
            help="a file that is touched every 5 s while Python runs, for a liveness probe"
        ),
    ] = None,
    count: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="run that many workers on this machine, and replace those that die; auto: one for "
            "each GPU, or else each core",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="a label that studies may need (LRSEARCH_LABELS); may be repeated"),
    ] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
    heartbeat: Annotated[int | None, typer.Option(hidden=True)] = None,
    number: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve the studies of a database: by priority, then in fair shares.

    SIGTERM and SIGUSR1 make it save its trial, hand it back and end; another worker goes on.

    Exit code 0: nothing is left to do, or others do the rest.

    75: it was told to stop, and work is left. Start it again.

    3: work is left that this machine cannot do. The last line of the log says why.

    2: bad input.

    70: a training made no progress for queue.stall_timeout seconds. Start another.

    1, or a signal: it broke. Start another, a few times.

    Example: lrsearch worker --count auto storage.url=postgresql://me@host/lrsearch
    """
    from lrsearch.cli.locations import serve_studies
    from lrsearch.workers.assignment import Assignment

    labels = tuple(label or ())
    assignment = Assignment(tuple(sweep or ()), until_empty, idle_timeout, labels)
    code = serve_studies(places or [], assignment, parent, heartbeat, heartbeat_file, number, count)
    raise SystemExit(code)


@app.command()
def pause(names: Names = None) -> None:
    """Hand a study's running trials back, and start no more until `resume`."""
    from lrsearch.cli.manage_studies import pause_study

    pause_study(names or [])


@app.command()
def resume(
    names: Names = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="try failed trials again, too")
    ] = False,
) -> None:
    """Go on with a study that was paused or stopped."""
    from lrsearch.cli.manage_studies import resume_study

    resume_study(names or [], retry_failed)


@app.command()
def stop(
    names: Names = None,
    now: Annotated[bool, typer.Option("--now", help="hand running trials back at once")] = False,
) -> None:
    """Let a study's running trials end, and start no more."""
    from lrsearch.cli.manage_studies import stop_study

    stop_study(names or [], now)


@app.command(name="set")
def set_(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME key=value ... [storage.url=...]",
            help="a study, and what to change; without values they are printed",
            autocompletion=complete.service,
        ),
    ] = None,
) -> None:
    """Change how workers serve a study, while it runs; without values, print them.

    The keys mean the same as `study.KEY` of a sweep. Each change is written into the study's
    record with its time.

    Example: lrsearch set mnist priority=3 share=2 max_running=8 tags=[nightly] needs.labels=[a100]
    """
    from lrsearch.cli.set_service import set_service

    set_service(words or [])


@app.command()
def delete(
    names: Names = None,
    yes: Annotated[bool, typer.Option("--yes", help="really")] = False,
    outputs: Annotated[
        bool, typer.Option("--outputs", help="its folder OUTPUT_DIR/NAME, too, with all in it")
    ] = False,
) -> None:
    """Delete a study: its trials, evaluations and checkpoints.

    Example: lrsearch delete mnist --yes --outputs
    """
    from lrsearch.cli.manage_studies import delete_study

    delete_study(names or [], yes, outputs)


@app.command()
def doctor(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            help="+sweep=NAME and any key=value, as for a sweep", autocompletion=complete.settings
        ),
    ] = None,
) -> None:
    """Check the database, the checkpoints, the data and the devices, and say what to do.

    Example: lrsearch doctor +sweep=mnist storage.url=postgresql://me@host/lrsearch workers=16
    """
    from lrsearch.cli.doctor import examine

    raise SystemExit(examine(settings or []))


@app.command()
def upgrade(places: Places = None) -> None:
    """Bring the tables of a database made by an older lrsearch or Optuna up to date."""
    from lrsearch.cli.manage_studies import upgrade_tables

    upgrade_tables(places or [])


@app.command()
def dashboard(
    storage: Annotated[
        list[str] | None, typer.Argument(metavar="[storage.url=URL]", help="the database")
    ] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one")] = 8080,
    writable: Annotated[
        bool, typer.Option("--writable", help="let studies be changed and deleted")
    ] = False,
    token_file: Annotated[Path | None, typer.Option(help="a file with the password")] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="a further name it is reached by; may be repeated")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="a proxy, or a network of them, whose X-Forwarded-For says who asks; may be "
            "repeated",
        ),
    ] = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="files that were attached to trials; lrsearch-artifacts beside the database",
        ),
    ] = None,
) -> None:
    """Show the studies in a browser; read-only, and on this machine only, unless told otherwise.

    Notes, figures and pictures are kept up to date as long as it runs, every ten seconds.

    The password (user lrsearch, or a bearer token) may also be in LRSEARCH_DASHBOARD_PASSWORD, or
    in a file that LRSEARCH_DASHBOARD_PASSWORD_FILE names.
    """
    from lrsearch.cli.dashboard import show

    names, proxies = allowed_host or [], trusted_proxy or []
    raise SystemExit(
        show(storage or [], host, port, writable, token_file, names, artifacts, proxies)
    )


@app.command()
def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME [storage.url=...] [output_dir=...]",
            help="the study, and its database",
            autocompletion=complete.studies,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="the file; default: OUTPUT_DIR/NAME/report.html")
    ] = None,
) -> None:
    """Write what a study has found out as one page, with figures, that works offline.

    Example: lrsearch report mnist
    """
    from lrsearch.cli.report import write_report

    write_report(names or [], output)


study_commands.add_to(app)
_NAMED = {
    command.name or command.callback.__name__: command
    for command in app.registered_commands
    if command.callback is not None
}
COMMANDS = tuple(_NAMED)
SHOWN = (*_DEFAULT, *(name for name, command in _NAMED.items() if not command.hidden))
"""The commands that a user types."""
