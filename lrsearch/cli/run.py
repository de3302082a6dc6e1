"""`run` and `submit`: from a checked configuration to a finished or stored sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from lrsearch.cli.arguments import worker_command
from lrsearch.cli.check_sweep import check_machine, check_sweep, output_of, warn
from lrsearch.cli.display import Shown, make_console, make_display
from lrsearch.cli.manage_studies import waiting
from lrsearch.cli.own_code_calls import own_code_calls
from lrsearch.cli.range_test_display import RangeTestDisplay, plan_line
from lrsearch.cli.results import conclude
from lrsearch.config.metric import mode_warning
from lrsearch.config.ranges import with_ranges
from lrsearch.config.storage import (
    PASSWORD_FILE,
    command_on,
    left_out_options,
    password_variables,
)
from lrsearch.data.spec import DataInfo
from lrsearch.launchers import build_launcher
from lrsearch.launchers.base import Launcher, Sweep
from lrsearch.launchers.supervisor import Supervisor
from lrsearch.objectives import is_command
from lrsearch.queue.endings import Endings
from lrsearch.range_test.stored import found_ranges
from lrsearch.settings import Configuration, RuntimeSettings, Settings
from lrsearch.states import WorkState
from lrsearch.storage.database import Database, absolute
from lrsearch.storage.optuna_bridge import Studies, open_database
from lrsearch.study.follow_up import follow_up
from lrsearch.study.progress import Progress
from lrsearch.study.study import (
    OpenStudy,
    load_row,
    open_study,
)
from lrsearch.text.formatting import plural, the_best
from lrsearch.text.redaction import redacted
from lrsearch.text.shell import name_word, with_setting
from lrsearch.workers.abilities import passed_on
from lrsearch.workers.locations import Locations, logs_of
from lrsearch.workers.patience import VARIABLE as PATIENCE

if TYPE_CHECKING:
    from lrsearch.launchers.in_process import InProcess
    from lrsearch.range_test.plan import RampPlan


def run(configuration: Configuration, command: str) -> int:
    """Run a sweep to its end; return the exit code. `command` runs it again.

    0: the budget is spent. 1: it was stopped by failures, or the time was up with nothing done.
    130: interrupted.
    """
    console = make_console()
    launcher = build_launcher(configuration.runtime.launcher)
    check_machine(configuration, launcher)
    runtime = configuration.runtime
    settings, info, plan = check_sweep(configuration.settings, console)
    output = output_of(runtime, settings)
    try:
        settings, studies, database, study = store_sweep(settings, runtime, info, plan, console)
        supervisor = launch_sweep(settings, runtime, database, study, console, launcher)
    except KeyboardInterrupt:  # before the launcher listens for it
        return _stopped(console, command)
    if supervisor.is_left:
        return 0
    code = conclude(console, settings, info, database, output)
    refresh_dashboard(console, database, study.name)
    if supervisor.interrupts:
        code = _stopped(console, command)
    elif supervisor.timed_out and settings.study.timeout is not None:
        console.print(
            f"study.timeout={settings.study.timeout:g} is up; to go on, give it more: "
            f"{longer(command, settings.study.timeout, load_row(database, study.name).seconds)}",
            markup=False,
            soft_wrap=True,
        )
    elif running := study.queue.work()[WorkState.RUNNING]:
        are = "is" if running == 1 else "are"
        console.print(f"{plural(running, 'run')} {are} still run by workers elsewhere")
    studies.close()
    return code


def _stopped(console: Console, command: str) -> int:
    console.print(f"stopped; to go on: {command}", markup=False, soft_wrap=True)
    return 130


def launch_sweep(
    settings: Settings,
    runtime: RuntimeSettings,
    database: Database,
    study: OpenStudy,
    console: Console,
    launcher: Launcher | None,
    environment: Mapping[str, str] | None = None,
) -> Supervisor | InProcess:
    """Run the study to its end, or until it is stopped, by the workers of a launcher.

    Without a launcher this process trains. `environment` has further environment variables of
    worker processes.
    """
    progress = Progress(database.session, study.study_id)
    workers = 1 if launcher is None else launcher.most()
    about = "" if launcher is None else launcher.describe()
    if about not in ("", plural(workers, "worker")):  # the display says how many start
        console.print(f"  {about}", markup=False, soft_wrap=True)
    shown = make_display(
        console, Shown.of(settings, study.queue.spent(), workers), progress.finished()
    )
    if settings.space.to_find:
        shown = RangeTestDisplay(shown, database, study.name)
    with shown as display:
        sweep = Sweep(
            study.name,
            study.study_id,
            Locations(runtime.storage_url, runtime.checkpoints_url, runtime.output_dir),
            logs_of(runtime.output_dir, settings.study.name),
            database.session,
            study.queue,
            Endings(study.study_id, settings.queue.max_attempts, follow_up),
            display.say,
            {PATIENCE: f"{settings.queue.patience:g}", **passed_on(), **(environment or {})},
            settings.queue.patience,
        )
        if launcher is None:
            from lrsearch.launchers.in_process import InProcess  # imports torch: takes seconds

            here = InProcess(sweep, progress, display)
            here.run(settings.study.timeout)
            return here
        launcher.attach(sweep)
        supervisor = Supervisor(sweep, launcher, progress, display)
        supervisor.run(settings.study.timeout)
        return supervisor


def longer(command: str, timeout: float, spent: float) -> str:
    """The command with twice the time in all, or twice what is spent where that is more."""
    total = 2 * timeout if spent < 2 * timeout else 2.0 * math.ceil(spent)
    return with_setting(command, "study.timeout", f"{total:.10g}")


def refresh_dashboard(console: Console, database: Database, name: str) -> None:
    """Store the study's notes and figures in the database for dashboards."""
    from lrsearch.dashboard.refresh import refresh, stale

    try:
        if mark := stale(database).get(name):
            refresh(database, name, mark)
    except Exception as error:  # noqa: BLE001 - the sweep itself is done
        console.print(f"the dashboard's notes are out of date: {error!r}", markup=False)


def submit(configuration: Configuration) -> int:
    """Store a sweep for workers that serve the database; return the exit code."""
    console = make_console()
    runtime = configuration.runtime
    settings, info, plan = check_sweep(configuration.settings, console)
    settings, studies, _, study = store_sweep(settings, runtime, info, plan, console)
    trials = study.total - study.queue.counts()[WorkState.DONE]
    work = study.queue.work()
    auxiliary_runs = work[WorkState.OPEN] + work[WorkState.RUNNING] - trials
    url = absolute(runtime.storage_url)
    console.print(
        f"{waiting(trials, auxiliary_runs)} for workers; to start one, on any machine that "
        f"reaches the database:\n"
        f"  {worker_command(study.name, url, settings.study.needs.labels)}\n"
        f"{_password_words(url)}"
        f"how far they are: {command_on(runtime.storage_url, 'status', name_word(study.name))}\n"
        f"to show the result, and to work on what is left: the same command without submit",
        soft_wrap=True,
        markup=False,
    )
    studies.close()
    return 0


def _password_words(url: str) -> str:
    """Lines on what the machines of workers need besides the URL; empty where that is nothing."""
    lines = []
    if file := password_variables(url).get(PASSWORD_FILE):
        lines.append(
            f"there {file} must hold the password of the database in one line, readable by you "
            f"alone (chmod 600)"
        )
    if left_out := left_out_options(url):
        lines.append(
            f"{', '.join(left_out)} of the URL may hold a secret, and so is left out: add it"
        )
    return "".join(f"  {line}\n" for line in lines)


def store_sweep(
    settings: Settings,
    runtime: RuntimeSettings,
    info: DataInfo | None,
    plan: RampPlan | None,
    console: Console,
) -> tuple[Settings, Studies, Database, OpenStudy]:
    """Create the study of the sweep, or resume it."""
    studies, database = open_database(runtime.storage_url)
    study = open_study(settings, info, database, studies, runtime.checkpoints_url)
    settings = with_ranges(settings, found_ranges(load_row(database, study.name).record))
    _announce(console, settings, info, study, database.url)
    if plan is not None and settings.space.to_find:
        console.print(f"  {plan_line(plan)}; trials follow", markup=False, soft_wrap=True)
    return settings, studies, database, study


def _announce(
    console: Console, settings: Settings, info: DataInfo | None, study: OpenStudy, url: str
) -> None:
    done = study.queue.counts()[WorkState.DONE]
    trials = plural(study.total, "trial")
    state = f"goes on at {done} of {trials}" if study.resumed else trials
    what = "your own objective" if info is None else f"{info.name} ({info.extent})"
    if is_command(settings.objective):
        what = "your own script"
    console.print(
        f"[bold]{escape(study.name)}[/]: {state}, {settings.sampler.name} sampler, "
        f"{settings.pruner.name} pruner, {what}; in {redacted(url)}",
        soft_wrap=True,
    )
    if settings.confirm is not None:
        seeds = settings.confirm.seeds
        best = the_best(min(settings.confirm.top, study.total))
        test = "" if info is not None else "; no test score: your own objective has the data"
        console.print(f"  then {best} again on {seeds} fresh seeds{test}", soft_wrap=True)
    if doubt := mode_warning(settings.metric, settings.train):
        warn(console, doubt)
    for line in (*own_code_calls(settings, info), *settings.notes, *study.notes):
        console.print(f"  {line}", markup=False, soft_wrap=True)
