"""What is checked of a sweep, and of this machine, before anything is stored."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from lrsearch.cli.range_test_display import range_test_plan
from lrsearch.cli.shown_groups import group_lines_of_sweep
from lrsearch.config.batches import fit_batches
from lrsearch.data.prepare import prepare
from lrsearch.data.spec import DataInfo
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.files import removed_if_empty
from lrsearch.launchers.base import Launcher
from lrsearch.launchers.local import check_device
from lrsearch.loggers import check_logger, is_on, prepare_logger
from lrsearch.measures import LOSSES, METRICS, misfit
from lrsearch.objectives import COMMAND, is_command
from lrsearch.objectives.command_line import CommandLine, check_runnable
from lrsearch.optimizers import OPTIMIZERS, merged_parameters
from lrsearch.parameters.durations import Length
from lrsearch.settings import Configuration, RuntimeSettings, Settings
from lrsearch.space.domains import Domain
from lrsearch.space.formulas import schedule_problems
from lrsearch.storage.database import refuse_file
from lrsearch.study.study import checkpoints_url, fallback_warning
from lrsearch.text.formatting import duration, plural
from lrsearch.tuning.pruners import build_pruner
from lrsearch.tuning.samplers import check_own_sampler
from lrsearch.workers.abilities import check_needs

if TYPE_CHECKING:
    from lrsearch.range_test.plan import RampPlan

_ASSUMED_SAMPLES = 10_000
_LABELS_WARNING = (
    "all targets are 0 or 1, several for each sample: the loss is bce_with_logits, of several "
    "labels at once, and the model must return logits. Say so with train.loss=bce_with_logits; "
    "train.loss=mse takes them as numbers, train.loss=cross_entropy as one class of several"
)


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


def output_of(runtime: RuntimeSettings, settings: Settings) -> Path:
    """The folder of a study's outputs."""
    return Path(runtime.output_dir) / settings.study.name


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
        warn(console, _LABELS_WARNING)
    seconds = time.perf_counter() - started
    if seconds > 2 and not info.fallback_reason:
        console.print(f"data read in {duration(seconds)}")
    if info.fallback_reason:
        warn(console, fallback_warning(info))
        name = f"{settings.study.name}-on-{info.name}"
        study = dataclasses.replace(settings.study, name=name)
        plain = {**settings.plain, "study": {**settings.plain["study"], "name": name}}
        settings = dataclasses.replace(settings, study=study, plain=plain)
    return fit_batches(settings, info.n_train, info.name), info


def warn(console: Console, message: str) -> None:
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
