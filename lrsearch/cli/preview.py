"""`preview`: draw learning-rate curves without training."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lrsearch.cli.arguments import parse_values, print_json
from lrsearch.cli.shown_groups import group_lines, groups_plain, model_of, with_groups
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.files import write_whole
from lrsearch.parameters.durations import Duration
from lrsearch.parameters.parameter import Parameter
from lrsearch.plots.static.curves import Curve
from lrsearch.plots.static.figure import Kind
from lrsearch.plots.terminal import paper, text_plot
from lrsearch.recipe import COMMON, Recipe
from lrsearch.registry import TARGET, ComponentConfig, component_from
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.space.domains import STAND_IN
from lrsearch.space.names import ParameterName
from lrsearch.space.own_options import is_duration, is_own
from lrsearch.text.formatting import listed, number
from lrsearch.text.hints import unknown
from lrsearch.training.settings import TrainSettings

if TYPE_CHECKING:
    from lrsearch.data.spec import DataInfo
    from lrsearch.settings import Settings
    from lrsearch.space.space import Space

USAGE = "preview +sweep=NAME, or preview scheduler=cosine lr=0.1 warmup=0.05 epochs=20 ..."
_CURVES = 12
_IN_ONE_PLOT = 3
_ASSUMED_STEPS = 100
"""Steps of an epoch where the data are not known."""
_DEFAULT_LR = 0.1
_MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Drawn:
    """A recipe and its learning rate at each step."""

    recipe: Recipe
    rates: list[float]
    steps_per_epoch: int
    assumes_losses: bool
    searched: Collection[str] = ()
    """Names of the parameters that a sweep searches."""
    groups: list[dict[str, Any]] = field(default_factory=list)
    """The parameter groups, where there are rules and the model is known."""

    @property
    def words(self) -> str:
        """The recipe in one line."""
        return self.recipe.describe(self.searched)

    def curve(self, name: str) -> Curve:
        """The learning rate as a curve over epochs."""
        epochs = [step / self.steps_per_epoch for step in range(len(self.rates))]
        return Curve(name, epochs, self.rates)

    def doubt(self) -> str | None:
        """A note where a formula's highest rate is not `lr`, which is meant to be the peak."""
        highest, lr = max(self.rates), self.recipe.lr
        if highest == 0:
            return f"{self.words}: the rate is 0 throughout, so nothing is learned"
        if highest > lr * (1 + 1e-6):
            reached = f"the rate goes up to {number(highest)}, above lr={number(lr)}"
            return f"{self.words}: {reached}"
        return None


def preview(
    arguments: Sequence[str], steps_per_epoch: int | None, output: Path | None, as_json: bool
) -> None:
    """Draw one setting, or a dozen of a sweep's space. Raises UserError."""
    with Console(stderr=True).status("stepping through the schedules"):
        if any(word.lstrip("+").startswith("sweep=") for word in arguments):
            title, drawn, notes = _of_sweep(arguments, steps_per_epoch)
        else:
            title, drawn, notes = _of_setting(parse_values(arguments), steps_per_epoch)
    if any(sample.assumes_losses for sample in drawn):
        notes.append(
            "plateau: a loss that falls for two fifths of the training and then stays is assumed"
        )
    notes += [note for sample in drawn if (note := sample.doubt())]
    kind = None if output is None else prepare_picture(output)
    if as_json:
        print_json([_plain(sample) for sample in drawn])
    else:
        _print(title, drawn, notes)
    if output is not None and kind is not None:
        from lrsearch.plots.static.rates import rates_picture

        names = [sample.curve(sample.words) for sample in drawn]
        save(output, rates_picture(names, title, kind))
        if not as_json:
            print(output)


def _print(title: str, drawn: Sequence[Drawn], notes: Sequence[str]) -> None:
    if len(drawn) == 1:
        print(text_plot([drawn[0].curve("lr")], title, paper()))
    else:
        # A dozen curves in one plot of characters cannot be told apart.
        names = {index: f"{index + 1}" for index in range(len(drawn))}
        for first in range(0, len(drawn), _IN_ONE_PLOT):
            group = range(first, min(first + _IN_ONE_PLOT, len(drawn)))
            print(text_plot([drawn[k].curve(names[k]) for k in group], title, paper()))
            for k in group:
                print(f"{names[k]:>4}  {drawn[k].words}")
            print()
    for note in notes:
        print(note)


def _plain(curve: Drawn) -> dict[str, Any]:
    return {
        "recipe": curve.recipe.to_dict(),
        "steps_per_epoch": curve.steps_per_epoch,
        "assumes_losses": curve.assumes_losses,
        "rates": curve.rates,
        **({"groups": curve.groups} if curve.groups else {}),
    }


# A sweep


def _of_sweep(
    arguments: Sequence[str], steps_per_epoch: int | None
) -> tuple[str, list[Drawn], list[str]]:
    from lrsearch.cli.compose import load_settings

    settings = load_settings(arguments)
    rng = random.Random(settings.study.seed)
    recipes = [settings.space.sample(rng) for _ in range(_CURVES)]
    info, n_train, note = _size(settings, steps_per_epoch)
    steps = steps_per_epoch or _ASSUMED_STEPS
    drawn = [
        replace(
            _draw(settings.train, recipe, n_train or steps * recipe.batch_size),
            searched=settings.space.searched,
        )
        for recipe in recipes
    ]
    notes = [note, *settings.notes]
    notes += [to_find(settings.space)] if settings.space.to_find else []
    drawn, lines = _with_groups(settings, info, drawn)
    notes += lines
    return f"{len(drawn)} learning rates of the sweep {settings.sweep}", drawn, notes


def _with_groups(
    settings: Settings, info: DataInfo | None, drawn: list[Drawn]
) -> tuple[list[Drawn], list[str]]:
    """Add the parameter groups of each recipe, and return lines on those that differ."""
    recipes = [curve.recipe for curve in drawn]
    models = {index: model_of(settings, info, recipe) for index, recipe in enumerate(recipes)}
    grouped = [
        replace(
            curve, groups=[] if (model := models[k]) is None else groups_plain(model, curve.recipe)
        )
        for k, curve in enumerate(drawn)
    ]
    lines: list[str] = []
    for recipe in with_groups(recipes):
        index = recipes.index(recipe)
        if (model := models[index]) is not None:
            lines += [f"{index + 1:<5} {drawn[index].words}", *group_lines(model, recipe)]
    is_unknown = any(recipe.has_groups for recipe in recipes) and settings.objective is None
    why = "parameter groups are shown when the data have been read: they say what the model is"
    return grouped, [why] if is_unknown and not lines else lines


def to_find(space: Space) -> str:
    """A note on the learning rates that are still `auto`, and the value drawn for them."""
    names = listed([*space.to_find])
    return (
        f"{names}: auto: the range test finds the range; {STAND_IN:g} stands in for it here "
        f"(lrsearch range-test shows what it finds)"
    )


def _size(
    settings: Settings, steps_per_epoch: int | None
) -> tuple[DataInfo | None, int | None, str]:
    """The number of training samples, None if it is not cached; and a note on it."""
    from lrsearch.data.prepare import prepared

    info = None if settings.objective is not None else prepared(settings.data)
    if steps_per_epoch is not None:
        return info, None, f"{steps_per_epoch} steps an epoch, as given"
    if info is not None:
        return info, info.n_train, f"{info.n_train} samples of {info.name} an epoch"
    unread = "the data have not been read here yet"
    own = "your own objective reads its own data"
    return None, None, _assumed(unread if settings.objective is None else own)


def _assumed(why: str) -> str:
    return f"{_ASSUMED_STEPS} steps an epoch are assumed ({why}); --steps-per-epoch says otherwise"


# One setting

_OWN: dict[str, Parameter] = {
    "lr": COMMON["lr"],
    "warmup": COMMON["warmup"],
    "epochs": Parameter("float", 10, 0.0, open_low=True),
    "steps": Parameter("int", None, 1),
    "eval_every": Parameter("duration", None),
}


def _of_setting(
    given: Mapping[str, Any], steps_per_epoch: int | None
) -> tuple[str, list[Drawn], list[str]]:
    name = given.get("scheduler")
    if name is None:
        raise UserError(f"say what to draw: lrsearch {USAGE}; schedulers: {', '.join(SCHEDULERS)}")
    if is_own(name):
        scheduler = _own_scheduler(name)
        settings, _ = _sorted("", {}, given)
    elif isinstance(name, str) and name in SCHEDULERS:
        settings, arguments = _sorted(name, SCHEDULERS[name].parameters, given)
        scheduler = ComponentConfig(name, arguments)
    else:
        raise UserError(f"scheduler: {SCHEDULERS.unknown(name)}")
    if settings.get("epochs") is not None and settings.get("steps") is not None:
        raise UserError(
            f"both epochs={settings['epochs']:g} and steps={settings['steps']} are given: "
            f"a training has one length, so leave one of them out"
        )
    recipe = Recipe(
        lr=float(settings.get("lr", _DEFAULT_LR)),
        batch_size=1,
        optimizer=ComponentConfig("sgd"),
        scheduler=scheduler,
        warmup=settings.get("warmup", 0),
    )
    train = TrainSettings(
        epochs=settings.get("epochs", 10),
        steps=settings.get("steps"),
        eval_every=settings.get("eval_every"),
    )
    note = _assumed("no data are named") if steps_per_epoch is None else ""
    drawn = _draw(train, recipe, steps_per_epoch or _ASSUMED_STEPS)
    words = recipe.describe().split(" ")  # neither optimizer nor batch size are of interest here
    title = " ".join(word for word in words[1:] if not word.startswith("batch="))
    return title, [drawn], [note] if note else []


def _own_scheduler(node: Mapping[str, Any]) -> ComponentConfig:
    """The user's own scheduler of `{_target_: mypkg.decay, power: 2}`, with fixed arguments.

    A length of time is written as in a space: `{value: 0.3, duration: true}`. Raises UserError.
    """
    target = str(node[TARGET])
    arguments = {name: value for name, value in node.items() if name != TARGET}
    component_from(target, target, "scheduler", arguments, SCHEDULERS.leading)
    durations = tuple(name for name, value in arguments.items() if is_duration(value))
    arguments |= {name: arguments[name].get("value") for name in durations}
    return ComponentConfig(target, arguments, target, durations)


def _sorted(
    name: str, parameters: Mapping[str, Parameter], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the arguments into those of the training and of the scheduler. Raises ConfigErrors."""
    own: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    problems = []
    for key, value in given.items():
        parsed = ParameterName.parse(key)
        argument = parsed.argument if parsed.owner == name else key  # as a sweep's spaces name it
        if key == "scheduler":
            continue
        if argument in parameters:
            arguments[argument] = value
            problem = parameters[argument].problem(value)
        elif key in _OWN:
            own[key] = value
            problem = _OWN[key].problem(value)
            if key == "eval_every" and not problem and Duration.parse(value).amount <= 0:
                problem = f"{value!r} is not above 0"
        else:
            problems.append(unknown(key, ["scheduler", *_OWN, *parameters]))
            continue
        if problem:
            problems.append(f"{key}: {problem}")
    if problems:
        raise ConfigErrors(problems)
    return own, arguments


# Both


def _draw(train: TrainSettings, recipe: Recipe, n_train: int) -> Drawn:
    length = train.length(recipe.batch_size, n_train)
    if length.steps > _MOST_STEPS:
        raise UserError(
            f"{length.steps} steps are too many to draw (at most {_MOST_STEPS}): "
            f"give a shorter training, or fewer with --steps-per-epoch"
        )
    try:
        seen = recipe.preview(length)
    except (ArithmeticError, ValueError) as error:
        raise UserError(f"the rates of {recipe.describe()} cannot be computed: {error}") from None
    return Drawn(recipe, seen.rates, length.steps_per_epoch, seen.assumed_losses is not None)


def prepare_picture(output: Path) -> Kind:
    """Make the folder of a picture; return the format of its name. Raises UserError."""
    kinds: dict[str, Kind] = {".png": "png", ".svg": "svg"}
    if output.suffix.lower() not in kinds:
        raise UserError(f"--output: {output} is neither a .png nor a .svg")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output: cannot write {output}: {error.strerror}") from None
    return kinds[output.suffix.lower()]


def save(output: Path, picture: bytes) -> None:
    """Write a picture. Raises UserError."""
    try:
        write_whole(output, picture)
    except OSError as error:
        raise UserError(f"--output: cannot write {output}: {error.strerror}") from None
