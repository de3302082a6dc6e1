"""Searches from Python: the configuration of a call, and the study that comes of it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lrsearch.api.call import Call, Training, identifier
from lrsearch.api.space import Space, plain
from lrsearch.api.study import Study
from lrsearch.cli.catalogue import Sweep
from lrsearch.cli.compose import load_configuration
from lrsearch.cli.display import make_console
from lrsearch.errors import UserError
from lrsearch.own_code import MAIN, dotted_path, name_of, provided
from lrsearch.settings import Configuration
from lrsearch.space.domains import Fixed

Objective = Callable[..., Any] | str | Mapping[str, Any]
"""A function, its dotted path, the path of a script, or the section `objective` of a sweep."""
_SWEEP = "python"
"""What stands for the name of the sweep file in the configuration of a call."""
_GROUPS = ("data", "model", "sampler", "pruner", "logger", "launcher")
"""Sections for which a name of the catalogue may stand."""
ASKED = f"{MAIN}.ask_and_tell"
"""The objective that a study of `create_study` is stored with, which no worker can import."""


def search(
    objective: Objective | None,
    space: Space | Mapping[str, Any],
    *,
    name: str | None = None,
    n_trials: int | None = 30,
    storage: str | None = None,
    workers: int | str | None = None,
    metric: str | Mapping[str, Any] | None = None,
    epochs: float | None = None,
    seed: int = 0,
    sampler: str | Mapping[str, Any] | None = None,
    pruner: str | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    quiet: bool = False,
    **sections: Any,
) -> Study:
    """Search the learning-rate recipe of a training; return the study with its results.

    It does what the command `lrsearch +sweep=NAME` does, with the same configuration: called again
    with the same arguments, it goes on where it was stopped, and a larger `n_trials` adds trials.
    Ctrl-C (the interruption of a notebook's cell) hands the running trials back and returns.

    - `objective`: what trains. A function `train(trial)` that calls `trial.report` (see `Trial`);
      the dotted path of one (`"mypkg.train"`); the path of a script (`"train.py"`); None for
      lrsearch's own loop on the sections `model` and `data`.
    - `space`: what is searched.
    - `name`: the study's name; by default that of the function.
    - `n_trials`: finished trials in total; None is the whole grid of the sampler `grid`.
    - `storage`: URL of the database, such as `sqlite:///mine.db`; by default that of the command.
    - `workers`: number of worker processes, or `"auto"` for one each GPU or core, which is the
      default for what worker processes can import. A function of a notebook or a script is trained
      in this process by default; with a number of workers they get it pickled (cloudpickle). 0
      trains in this process whatever it is.
    - `metric`: what is optimised, `val_loss` by default, or a section (`{"name": ..., "mode":
      "max"}`). `epochs`: length of a training.
    - `sampler`, `pruner`: names of the catalogue, or sections.
    - `sections`: any other section or key of a configuration: `train={"keep_best": 3}`,
      `confirm={"top": 3}`, `output_dir="results"`. `overrides` are words of a command line
      (`["train.device=cpu"]`), which win.
    - `quiet`: print nothing.

    Raises UserError (ConfigErrors for all problems of a configuration together) before anything is
    stored, OwnCodeError where the user's code cannot be imported, and LrsearchError where three
    trials in a row fail or workers cannot work; what was found until then is in the database.
    """
    with _call(objective, space, name, workers, overrides, quiet, sections, **_keys(
        n_trials=n_trials, storage=storage, metric=metric, epochs=epochs, seed=seed,
        sampler=sampler, pruner=pruner,
    )) as call:  # fmt: skip
        return Study(*call.run(), objective if callable(objective) else None)


def create_study(
    space: Space | Mapping[str, Any],
    *,
    name: str,
    n_trials: int | None = 30,
    storage: str | None = None,
    metric: str | Mapping[str, Any] | None = None,
    epochs: float | None = None,
    seed: int = 0,
    sampler: str | Mapping[str, Any] | None = None,
    pruner: str | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    quiet: bool = True,
    **sections: Any,
) -> Study:
    """Create a study, or resume it, without training: its trials come from `Study.ask`.

    The arguments are those of `search`. Several processes may ask for trials of the same study.
    Raises UserError as `search` does, and for a `confirm`, which needs an objective.
    """
    if sections.get("confirm") is not None:
        raise UserError("confirm: the confirmation trains again, which needs an objective")
    with _call({"_target_": ASKED}, space, name, None, overrides, quiet, sections, **_keys(
        n_trials=n_trials, storage=storage, metric=metric, epochs=epochs, seed=seed,
        sampler=sampler, pruner=pruner,
    )) as call, provided({ASKED: _ask_and_tell}):  # fmt: skip
        return Study(*call.store())


def _ask_and_tell(trial: object) -> None:
    """Stand for the training of a study whose trials are asked for."""
    raise UserError("this study is trained by those who ask for its trials")


def _keys(
    n_trials: int | None,
    storage: str | None,
    metric: str | Mapping[str, Any] | None,
    epochs: float | None,
    seed: int,
    sampler: str | Mapping[str, Any] | None,
    pruner: str | Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The sections of the arguments that have names of their own."""
    nodes: dict[str, Any] = {
        "study": {"n_trials": n_trials, "seed": seed},
        "storage": {"url": storage},
        "metric": {"name": metric} if isinstance(metric, str) else metric,
        "train": {"epochs": epochs},
        "sampler": sampler,
        "pruner": pruner,
    }
    kept = {"n_trials"}  # here None says something
    return {
        key: {k: v for k, v in node.items() if v is not None or k in kept}
        if isinstance(node, Mapping)
        else node
        for key, node in nodes.items()
        if node is not None
    }


@contextlib.contextmanager
def _call(
    objective: Objective | None,
    space: Space | Mapping[str, Any],
    name: str | None,
    workers: int | str | None,
    overrides: Sequence[str],
    quiet: bool,
    sections: Mapping[str, Any],
    **keys: Any,
) -> Iterator[Call]:
    """Check a call, and let its function be found within the block."""
    training = Training.of(objective, workers)
    node = _node(objective, space, name, workers, training, {**sections}, keys)
    with provided(training.functions):
        configuration = _configuration(node, overrides)
        searched = node["space"] if isinstance(node["space"], Mapping) else {}
        note = _not_searched(configuration, searched)
        settings = configuration.settings
        settings = dataclasses.replace(settings, notes=(*settings.notes, note))
        configuration = dataclasses.replace(configuration, settings=settings)
        yield Call(configuration, training, make_console(quiet))


def _node(
    objective: Objective | None,
    space: Space | Mapping[str, Any],
    name: str | None,
    workers: int | str | None,
    training: Training,
    sections: dict[str, Any],
    keys: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of a sweep file that says the same as the call."""
    node: dict[str, Any] = {
        "objective": _objective(objective, training),
        "space": _space(space),
        "study": {"name": name or _default_name(objective, training)},
    }
    for key, section in [*keys.items(), *_by_path(sections).items()]:
        before = node.get(key)
        if isinstance(section, Mapping) and isinstance(before, Mapping):
            node[key] = {**before, **section}
        else:
            node[key] = section
    if training.in_process and "threads" not in (train := node.setdefault("train", {})):
        import torch  # this process has its number of threads already

        node["train"] = {**train, "threads": torch.get_num_threads()}
    if workers not in (None, 0):
        node["workers"] = workers
    defaults: list[dict[str, str]] = [{"override /space": "bare"}]
    for group in _GROUPS:
        section = node.get(group)
        if isinstance(section, str):
            defaults.append({f"override /{group}": node.pop(group)})
        elif isinstance(section, Mapping) and isinstance(section.get("name"), str):
            defaults.append({f"override /{group}": section["name"]})
    return {"defaults": defaults, **{key: plain(item, key) for key, item in node.items()}}


def _space(space: Space | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(space, Space):
        return space.to_plain()
    if isinstance(space, Mapping):
        return dict(space)
    raise UserError(
        f"space: {space!r} is neither a Space nor a mapping; the call is search(train, Space(...))"
    )


def _by_path(node: Mapping[str, Any]) -> dict[str, Any]:
    """Sections, in which a function or class stands under the key that a sweep file has for it."""

    def called(key: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return _by_path(value)
        return {"_target_": value} if callable(value) and key != "_target_" else value

    return {key: called(key, value) for key, value in node.items()}


def _objective(objective: Objective | None, training: Training) -> Any:
    """The section `objective` of a sweep file."""
    if callable(objective):
        return {"_target_": next(iter(training.functions), None) or dotted_path(objective)}
    if isinstance(objective, str):
        if objective.endswith(".py"):
            return {"command": ["python", objective]}
        return {"_target_": objective}
    return objective


def _default_name(objective: Objective | None, training: Training) -> str:
    if callable(objective):
        return identifier(name_of(objective))
    if isinstance(objective, str):
        return Path(objective).stem if objective.endswith(".py") else objective.rpartition(".")[2]
    return "search"


def _configuration(node: Mapping[str, Any], overrides: Sequence[str]) -> Configuration:
    """Compose and check what a call says, as a sweep file that says the same."""
    sweep = Sweep.of_call(_SWEEP, node)
    return load_configuration([f"+sweep={_SWEEP}", *overrides], None, sweep)


def _not_searched(configuration: Configuration, named: Mapping[str, Any]) -> str:
    """What the space does not name, and what it is then, in one line."""
    space = configuration.settings.space
    values = {
        "optimizer": ", ".join(space.optimizer),
        "scheduler": ", ".join(space.scheduler),
        "warm-up": "none",
        **{
            name: domain.value
            for name, domain in space.shared.items()
            if isinstance(domain, Fixed) and "." not in name
        },
    }
    names = {"warm-up": "warmup"}
    words = [f"{key} {v}" for key, v in values.items() if names.get(key, key) not in named]
    return f"not in the space, so not searched: {', '.join(words)}"
