"""`train`: train one recipe again, from a `best.yaml` or from its study in the database."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from lrsearch.cli.arguments import named_study, refuse_words
from lrsearch.cli.best import record_of
from lrsearch.cli.display import make_console
from lrsearch.cli.locations import NAME
from lrsearch.config.load import stored_settings
from lrsearch.config.words import WORDS
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.recipe import Recipe
from lrsearch.settings import MetricSettings, Settings
from lrsearch.text.formatting import number, plural
from lrsearch.text.hints import as_given
from lrsearch.text.yaml import read_file

if TYPE_CHECKING:
    from lrsearch.evaluation import Evaluation

USAGE = "train NAME [--trial N] [--epochs M] [storage.url=...], or train best.yaml"
_KEYS = ("recipe", "seed", "value", "config", "data", "machine")


def train_again(
    arguments: Sequence[str],
    trial: int | None,
    epochs: float | None,
    device: str | None,
    data_root: Path | None,
) -> int:
    """Train the recipe, print each evaluation, and compare the value with the recorded one.

    `epochs` is another length than the recorded one. Exit code 0 also where the value differs: on
    another kind of machine it may. 1 if it diverged.
    """
    if epochs is not None and not (math.isfinite(epochs) and epochs > 0):
        raise UserError(f"--epochs: {epochs:g} is not above 0")
    record = _record(arguments, trial)
    # PyTorch takes seconds: not before it is known what to train.
    from lrsearch.checkpoints.store import NoCheckpoints
    from lrsearch.data.prepare import prepare
    from lrsearch.objectives.build import build_objective
    from lrsearch.training.loop import Diverged, OutOfMemory
    from lrsearch.workers.reporter import NoFiniteValue, value_of

    console = make_console()
    settings = _settings(record, epochs, device, data_root)
    recipe = Recipe.from_dict(record["recipe"])
    if settings.objective is None:
        info = prepare(settings.data)
        stored = record["data"] or {}
        if info.fingerprint != stored.get("fingerprint"):
            console.print(
                f"[yellow]the data here ({info.name}) are not those of the record: "
                f"the value will differ[/]"
            )
        stored_data: dict[str, Any] | None = info.to_json()
    else:
        stored_data = None
    console.print(recipe.describe(), markup=False)
    report = _Printed(console, settings.metric)
    try:
        objective = build_objective(settings, stored_data)
        objective.run(recipe, int(record["seed"]), report, lambda: False, NoCheckpoints())
        value = value_of(report.values, settings.reported_metric)
    except (Diverged, OutOfMemory, NoFiniteValue) as error:
        console.print(str(error), markup=False)
        return 1
    assert value is not None, "an objective reports at least once"
    other = _other_length(record, settings)
    _compare(console, settings.metric, value, float(record["value"]), other)
    return 0


def _record(arguments: Sequence[str], trial: int | None) -> dict[str, Any]:
    """The record in the file, or of the study, that the first word names. Raises UserError."""
    is_name = not arguments or arguments[0].startswith(f"{NAME}=")
    path = None if is_name else Path(arguments[0])
    if path is not None and (path.suffix in (".yaml", ".yml") or path.is_file()):
        refuse_words(arguments[1:], USAGE)
        if trial is not None:
            raise UserError(f"--trial is for a study's name; {path} holds one trial")
        return _read(path)
    with named_study(arguments, USAGE) as named:
        refuse_words(named.words, USAGE)
        record = record_of(named, trial)
        config = record["config"]
        # The data may be elsewhere on this machine than where the study was made.
        data = {**config["data"], **named.locations.data}
        return {**record, "config": {**config, "data": data}}


def _settings(
    record: Mapping[str, Any], epochs: float | None, device: str | None, data_root: Path | None
) -> Settings:
    train = {"threads": record["machine"].get("threads", 1)}
    if epochs is not None:
        train |= {"epochs": epochs, "steps": None}
    if device is not None:
        train["device"] = device
    data = {} if data_root is None else {"root": str(data_root)}
    return stored_settings(record["config"], train=train, data=data)


def _other_length(record: Mapping[str, Any], settings: Settings) -> str | None:
    """The recorded length, where it is another than that of this training; else None."""
    old, new = stored_settings(record["config"]).train, settings.train
    if (old.epochs, old.steps) == (new.epochs, new.steps):
        return None
    return plural(old.steps, "step") if old.steps else plural(old.epochs, "epoch")


class _Printed:
    """Prints each evaluation, and keeps the values of the metric."""

    def __init__(self, console: Console, metric: MetricSettings) -> None:
        self.values: list[float | None] = []
        self._console, self._metric = console, metric

    def __call__(self, evaluation: Evaluation) -> None:
        from lrsearch.workers.reporter import measured

        self.values.append(measured(evaluation, self._metric))
        shown = "  ".join(f"{name} {number(v)}" for name, v in evaluation.values.items())
        rate = number(evaluation.lr_end[0])
        self._console.print(f"epoch {evaluation.epoch:g}  {shown}  lr {rate}")

    @property
    def number(self) -> None:
        """None: the training belongs to no study."""

    def warn(self, message: str) -> None:
        """Print a warning about the training."""
        self._console.print(f"[yellow]{escape(message)}[/]")

    def progress(self) -> None:
        """Do nothing: no heartbeat is needed."""

    def restore(self, history: Sequence[Evaluation]) -> None:
        """Do nothing: without checkpoints there is no history."""

    def rewind(self, epoch: float, step: float = math.inf) -> int:
        """The first evaluation comes next."""
        return 1


def _compare(
    console: Console,
    metric: MetricSettings,
    value: float,
    recorded: float,
    other_length: str | None,
) -> None:
    if other_length is not None:
        console.print(
            f"{metric.name} {value!r} ({metric.at}); recorded {recorded!r} after {other_length}: "
            f"another length is another schedule, so the two cannot be compared",
            soft_wrap=True,
        )
        return
    console.print(f"{metric.name} {value!r} ({metric.at}); recorded {recorded!r}")
    if value == recorded:
        console.print("[green]equal to the last bit[/]")
        return
    relative = abs(value - recorded) / abs(recorded) if recorded else math.inf
    console.print(
        f"[yellow]differs by {value - recorded:+.3g} ({relative:.2g} relative): expected where the "
        f"device, the versions or the number of threads differ from the record[/]"
    )


def _read(path: Path) -> dict[str, Any]:
    record = read_file(path, ["study", *(f"config.{key}" for key in WORDS)])
    missing = [key for key in _KEYS if not isinstance(record, dict) or key not in record]
    if missing:
        raise UserError(
            f"{path} is not a best.yaml of lrsearch: {', '.join(missing)} missing; "
            f"a sweep writes one to outputs/NAME/best.yaml"
        )
    problems = [
        f"{path}: {key}: {as_given(record[key])} is not {wanted}"
        for key, fits, wanted in (
            ("recipe", isinstance(record["recipe"], dict), "a mapping"),
            ("config", isinstance(record["config"], dict), "a mapping"),
            ("machine", isinstance(record["machine"], dict), "a mapping"),
            ("data", isinstance(record["data"], dict | None), "a mapping"),
            ("seed", type(record["seed"]) is int, "a whole number"),
            ("value", type(record["value"]) in (int, float), "a number"),
        )
        if not fits
    ]
    if problems:
        raise ConfigErrors(problems)
    return dict(record)
