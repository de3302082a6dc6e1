"""`run` and `submit`: from a checked configuration to a finished or stored sweep."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from lrsearch.cli.arguments import worker_command
from lrsearch.cli.display import Shown, make_console, make_display
from lrsearch.cli.manage_studies import waiting
from lrsearch.cli.own_code_calls import own_code_calls
from lrsearch.cli.range_test_display import RangeTestDisplay, plan_line, range_test_plan
from lrsearch.cli.results import conclude
from lrsearch.cli.shown_groups import group_lines_of_sweep
from lrsearch.config.batches import fit_batches
from lrsearch.config.metric import mode_warning
from lrsearch.config.ranges import with_ranges
from lrsearch.config.storage import (
    PASSWORD_FILE,
    command_on,
    left_out_options,
    password_variables,
)
from lrsearch.data.prepare import prepare
from lrsearch.data.spec import DataInfo
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.files import removed_if_empty
from lrsearch.launchers import build_launcher
from lrsearch.launchers.base import Launcher, Sweep
from lrsearch.launchers.local import check_device
from lrsearch.launchers.supervisor import Supervisor
from lrsearch.loggers import check_logger, is_on, prepare_logger
from lrsearch.measures import LOSSES, METRICS, misfit
from lrsearch.objectives import COMMAND, is_command
from lrsearch.objectives.command_line import CommandLine, check_runnable
from lrsearch.optimizers import OPTIMIZERS, merged_parameters
from lrsearch.parameters.durations import Length
from lrsearch.queue.endings import Endings
from lrsearch.range_test.stored import found_ranges
from lrsearch.settings import Configuration, RuntimeSettings, Settings
from lrsearch.space.domains import Domain
from lrsearch.space.formulas import schedule_problems
from lrsearch.states import WorkState
from lrsearch.storage.database import Database, absolute, refuse_file
from lrsearch.storage.optuna_bridge import Studies, open_database
from lrsearch.study.follow_up import follow_up
from lrsearch.study.progress import Progress
from lrsearch.study.study import (
    OpenStudy,
    checkpoints_url,
    fallback_warning,
    load_row,
    open_study,
)
from lrsearch.text.formatting import duration, plural, the_best
from lrsearch.text.redaction import redacted
from lrsearch.text.shell import name_word, with_setting
from lrsearch.tuning.pruners import build_pruner
from lrsearch.tuning.samplers import check_own_sampler
from lrsearch.workers.abilities import check_needs, passed_on
from lrsearch.workers.locations import Locations, logs_of
from lrsearch.workers.patience import VARIABLE as PATIENCE

if TYPE_CHECKING:
    from lrsearch.launchers.in_process import InProcess
    from lrsearch.range_test.plan import RampPlan

_ASSUMED_SAMPLES = 10_000
_LABELS_WARNING = (
    "all targets are 0 or 1, several for each sample: the loss is bce_with_logits, of several "
    "labels at once, and the model must return logits. Say so with train.loss=bce_with_logits; "
    "train.loss=mse takes them as numbers, train.loss=cross_entropy as one class of several"
)


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


def output_of(runtime: RuntimeSettings, settings: Settings) -> Path:
    """The folder of a study's outputs."""
    return Path(runtime.output_dir) / settings.study.name


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
    if launcher is not None and (launcher.name != "local" or settings.train.gpus != 1):
        console.print(f"  {launcher.describe()}", markup=False, soft_wrap=True)
    progress = Progress(database.session, study.study_id)
    workers = 1 if launcher is None else launcher.most()
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


def check_sweep(
    settings: Settings, console: Console
) -> tuple[Settings, DataInfo | None, RampPlan | None]:
    """Check what the sweep needs on this machine; nothing is stored."""
    check_logger(settings.logger)
    settings, info = with_data(settings, console)
    check_trial(settings, info)
    settings = dataclasses.replace(
        settings, notes=(*settings.notes, *group_lines_of_sweep(settings, info))
    )
    _prepare_logger(console, settings)
    return settings, info, range_test_plan(settings, info)


def check_machine(configuration: Configuration, launcher: Launcher | None) -> None:
    """Check what the workers need that the launcher starts; None is this process.

    Raises UserError.
    """
    settings, runtime = configuration.settings, configuration.runtime
    refuse_file(runtime.storage_url, write=True)
    _check_folder("output_dir", output_of(runtime, settings))
    if runtime.checkpoints_url is not None:
        url = checkpoints_url(runtime.storage_url, runtime.checkpoints_url)
        if "://" in url:
            from lrsearch.checkpoints.locations import open_location

            open_location(url)
        else:
            _check_folder("storage.checkpoints", Path(url))
    if launcher is None:
        check_device(settings.train.device)
        check_needs(settings)
    else:
        launcher.check(settings, runtime)


def _check_folder(key: str, folder: Path) -> None:
    """Raise UserError unless files can be written to the folder; leave nothing behind."""
    try:
        with removed_if_empty(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise UserError(f"{key}: cannot write to {folder}: {error.strerror}") from None


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


def with_data(settings: Settings, console: Console) -> tuple[Settings, DataInfo | None]:
    """Read the data once; where fallback data replace them, rename the study.

    Raises UserError where they cannot be had, the loss and the metrics say nothing of them, or a
    batch is larger than their training part.
    """
    if settings.objective is not None:
        return settings, None
    started = time.perf_counter()
    info = prepare(settings.data)
    _check_measures(settings, info)
    _check_size(settings, info)
    if settings.train.loss is None and info.has_labels:
        _warn(console, _LABELS_WARNING)
    seconds = time.perf_counter() - started
    if seconds > 2 and not info.fallback_reason:
        console.print(f"data read in {duration(seconds)}")
    if info.fallback_reason:
        _warn(console, fallback_warning(info))
        name = f"{settings.study.name}-on-{info.name}"
        study = dataclasses.replace(settings.study, name=name)
        plain = {**settings.plain, "study": {**settings.plain["study"], "name": name}}
        settings = dataclasses.replace(settings, study=study, plain=plain)
    return fit_batches(settings, info.n_train, info.name), info


def _warn(console: Console, message: str) -> None:
    console.print(f"[bold yellow]WARNING: {escape(message)}[/]", soft_wrap=True)


def check_trial(settings: Settings, info: DataInfo | None) -> None:
    """Check what would make every trial fail, before anything is stored.

    Raises UserError or OwnCodeError.
    """
    _check_formulas(settings, info)
    _check_own_parts(settings)
    _check_own_code(settings, info)


def _check_own_parts(settings: Settings) -> None:
    """Builds samplers, pruners, optimizers and schedulers of the user's own once.

    Raises UserError or OwnCodeError.
    """
    if settings.sampler.own:
        check_own_sampler(settings.sampler)
    if settings.pruner.own:
        build_pruner(settings.pruner, evaluations=1, mode=settings.metric.mode)
    catalogue = [OPTIMIZERS[name] for name in settings.space.optimizer if name in OPTIMIZERS]
    elsewhere = merged_parameters(component.parameters for component in catalogue)
    for option in settings.space.own:
        from lrsearch.optimizers.build import check_optimizer

        recipe = settings.space.recipe(_choosing(option))
        if recipe.optimizer.own:
            check_optimizer(recipe.optimizer, recipe.lr, recipe.groups, elsewhere)
        if recipe.scheduler.own:
            recipe.call(Length(_ASSUMED_SAMPLES, 1, 1))


def _choosing(option: str) -> Callable[[str, Domain], Any]:
    """The middle of a space, with an option of the optimizers or the schedulers."""

    def choose(name: str, domain: Domain) -> Any:
        if name in ("optimizer", "scheduler") and option in domain.ends():
            return option
        return domain.middle()

    return choose


def _check_own_code(settings: Settings, info: DataInfo | None) -> None:
    """Import the user's code, check its arguments and run a few samples through its model.

    So are rules of parameter groups. What is of the catalogue alone was checked with the
    configuration, without torch.
    """
    if is_command(settings.objective):
        assert settings.objective is not None
        arguments = settings.objective.arguments
        check_runnable(CommandLine.parse(arguments[COMMAND], f"objective.{COMMAND}", []))
        return
    train = settings.train
    targets = [settings.model, settings.objective, train.loss, *(train.metrics or {}).values()]
    targets += [train.loss_step, train.evaluate]
    is_own = any(target is not None and target.own for target in targets)
    has_rules = settings.objective is None and (train.groups or train.freeze is not None)
    if is_own or has_rules or (info is not None and settings.data.target is not None):
        from lrsearch.objectives.build import build_objective
        from lrsearch.objectives.builtin import TrainingObjective
        from lrsearch.training.dry_pass import SAMPLES
        from lrsearch.training.memory import free_unused

        stored = None if info is None else info.to_json()
        objective = build_objective(settings, stored, SAMPLES)
        if isinstance(objective, TrainingObjective):
            objective.dry_pass()
        del objective
        free_unused()


def _check_formulas(settings: Settings, info: DataInfo | None) -> None:
    """Check the formulas of the space step by step. Raises ConfigErrors."""
    own_loop = info is None  # the length of its trainings is not known
    n_train = _ASSUMED_SAMPLES if info is None else info.n_train
    problems = schedule_problems(
        settings.space, lambda size: settings.train.length(size, n_train), all_steps=not own_loop
    )
    if problems:
        raise ConfigErrors(problems)


def _check_size(settings: Settings, info: DataInfo) -> None:
    """Check that each GPU of a trial gets a sample of every batch. Raises ConfigErrors."""
    n, gpus = info.n_train, settings.train.gpus
    if n is not None and n < gpus:
        samples = plural(n, "training sample")
        raise ConfigErrors(
            [f"train.gpus: {info.name} has {samples}, too few for {gpus:g} GPUs to share a batch"]
        )


def _check_measures(settings: Settings, info: DataInfo) -> None:
    """Check the loss and the metrics against the targets of the data. Raises ConfigErrors.

    The outputs of the user's own model are not known at this point.
    """
    if not info.is_pairs:
        _check_nested(settings, info)
        return
    if settings.model.own:
        return
    train = settings.train
    chosen = {"train.loss": (train.loss, LOSSES)} if train.loss is not None else {}
    chosen |= {
        f"train.metrics.{name}": (one, METRICS) for name, one in (train.metrics or {}).items()
    }
    wrong = {key: misfit(*one, info.n_classes, info.n_targets) for key, one in chosen.items()}
    if problems := [f"{key}: {problem}" for key, problem in wrong.items() if problem]:
        raise ConfigErrors(problems)


def _check_nested(settings: Settings, info: DataInfo) -> None:
    """Check the settings for batches of anything but (x, y). Raises ConfigErrors."""
    train, spec = settings.train, settings.data
    problems = []
    if train.loss_step is None:
        problems.append(
            f"train.loss_step is missing: the batches of {info.name} are not (x, y), so name a "
            f"function of (model, batch) that returns the loss: "
            f"train.loss_step={{_target_: mypkg.step}}"
        )
    if not settings.model.own:
        problems.append(
            f"model: {settings.model.name} takes inputs of batches (x, y), and those of "
            f"{info.name} are others: name your own with model._target_"
        )
    for key, given in (("loss", train.loss), ("metrics", train.metrics)):
        if given is not None:
            problems.append(
                f"train.{key}: it is of batches (x, y), and those of {info.name} are others: "
                f"train.loss_step computes the loss, and train.evaluate all else"
            )
    tuned = settings.space.tuned("data").keys()
    problems += [
        f"data.{key}: it is for batches (x, y) of images"
        for key in ("crop", "flip")
        if getattr(spec, key) or key in tuned
    ]
    if problems:
        raise ConfigErrors(problems)


def _prepare_logger(console: Console, settings: Settings) -> None:
    logger = settings.logger
    if is_on(logger):
        console.print(f"evaluations go to {logger.name}, too")
        prepare_logger(logger, settings.study.name)


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
        _warn(console, doubt)
    for line in (*own_code_calls(settings, info), *settings.notes, *study.notes):
        console.print(f"  {line}", markup=False, soft_wrap=True)
