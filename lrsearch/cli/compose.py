"""From the command line to a plain configuration, through Hydra, with all errors together."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lrsearch.cli.catalogue import Sweep, conf_folder, find_sweeps, sweep_list
from lrsearch.cli.grammar import as_word, parse_override, quoted, value_of, written
from lrsearch.cli.hydra_internals import Hydra, create_config_search_path
from lrsearch.cli.part_files import search_path
from lrsearch.config.load import Layer, new_configuration, written_keys
from lrsearch.config.own_arguments import OURS
from lrsearch.config.words import WORDS
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.launchers import LAUNCHERS
from lrsearch.settings import Configuration, Settings
from lrsearch.text.hints import unknown
from lrsearch.text.yaml import YamlError, read_file

CONFIG_NAME = "config"
VERSION_BASE = "1.3"
_SWEEP = "+sweep="
_KEY = re.compile(r"[+~]{0,2}[\w.-]+")
# How Hydra says which file chose what is not there.
_PLACE = re.compile(r"In '([^']+)': ")


def register_sweeps(*given: Sweep) -> dict[str, Sweep]:
    """Make each sweep an option of Hydra's group `sweep`; return them by name.

    Those `given` come in addition to the files, and win over files of the same name.
    """
    sweeps = find_sweeps() | {sweep.name: sweep for sweep in given}
    store = ConfigStore.instance()
    store.repo.pop("sweep", None)  # those of a folder that this process was in before
    for sweep in sweeps.values():
        store.store(group="sweep", name=sweep.name, node=sweep.node, package="_global_")
    return sweeps


def load_settings(overrides: Sequence[str], config_dir: str | None = None) -> Settings:
    """The part of `load_configuration` that a study is stored with."""
    return load_configuration(overrides, config_dir).settings


def load_configuration(
    overrides: Sequence[str], config_dir: str | None = None, *given: Sweep
) -> Configuration:
    """Read a command line such as `["+sweep=mnist", "study.n_trials=50"]` with its files.

    It may choose one of the sweeps `given`, which are no files. Raises ConfigErrors with every
    problem of the command line and the files.
    """
    problems: list[str] = []
    config, layers = compose(overrides, config_dir, problems, *given)
    try:
        plain = _container(config, resolve=True)
        configuration = new_configuration(plain, LAUNCHERS, layers, _defaults(plain))
    except OmegaConfBaseException as error:
        raise ConfigErrors([*problems, _in_words(error)]) from None
    except ConfigErrors as error:
        raise ConfigErrors([*problems, *error.problems]) from None
    if problems:
        raise ConfigErrors(problems)
    return configuration


def compose(
    overrides: Sequence[str], config_dir: str | None, problems: list[str], *given: Sweep
) -> tuple[DictConfig, list[Layer]]:
    """Compose the configuration; return it and the layers that the user has written.

    The layers are parts, sweep and command line. Problems that do not keep the rest from being
    composed are added to `problems`; others are raised as ConfigErrors.

    Hydra stops at the first unknown key, with its own exit code. So every key is let in, and
    `new_configuration`, which knows them all, reports unknown keys together with bad values.
    """
    sweeps = register_sweeps(*given)
    with _hydra(config_dir) as loader:
        groups = set(loader.list_groups("")) - {"hydra"}
        parsed = _parse(overrides, groups, loader, problems)
        chosen = _check_groups(parsed, groups, loader, sweeps, problems)
        sweep = [override for override in chosen if override.startswith(_SWEEP)]
        if not sweep:
            raise ConfigErrors(problems)
        name = str(parse_override(sweep[0]).value())
        rest = [override for override in parsed if not _chooses(override, groups)]
        values = [_let_in(override) for override in rest if override.key_or_group != "sweep"]
        try:
            config = hydra.compose(CONFIG_NAME, [*chosen, *values], return_hydra_config=True)
        except MissingConfigException as error:
            raise ConfigErrors([*problems, _missing(error, name)]) from None
        except (HydraException, OmegaConfBaseException, YamlError) as error:
            raise ConfigErrors([*problems, _in_words(error)]) from None
    OmegaConf.set_struct(config, False)
    options = config.pop("hydra").runtime.choices
    config["sweep"] = name
    layers: list[Layer] = [(f"in {config_dir}", _own_parts(config_dir, chosen, sweeps.get(name)))]
    if name in sweeps:
        layers.append((f"in {sweeps[name].place}", _container(sweeps[name].node)))
    layers.append(("on the command line", _mentioned(rest)))
    for section in (*OURS, "sampler", "pruner", "logger"):
        written = written_keys(layers, section)
        if isinstance(node := config.get(section), DictConfig) and "_target_" in written:
            _drop_replaced(node, section, str(options.get(section)), written)
    return config, layers


def _drop_replaced(node: DictConfig, section: str, option: str, written: set[str]) -> None:
    """Delete the arguments of the catalogue part that the user's target replaces."""
    file = conf_folder() / section / f"{option}.yaml"
    part = read_file(file) if file.is_file() else {}
    for key, value in part.items():
        if key not in written | OURS.get(section, frozenset({"name"})) and node.get(key) == value:
            del node[key]


def _own_parts(
    config_dir: str | None, chosen: Sequence[str], sweep: Sweep | None
) -> dict[str, Any]:
    """The parts of the user's own `--config-dir` that are chosen, by group."""
    if config_dir is None:
        return {}
    listed = [] if sweep is None else _container(sweep.node).get("defaults") or []
    choices = [item for item in listed if isinstance(item, dict)]
    choices += [
        {override.key_or_group: override.value()} for override in map(parse_override, chosen)
    ]
    found: dict[str, Any] = {}
    for group, option in (pair for choice in choices for pair in choice.items()):
        group = group.removeprefix("override ").lstrip("/")
        file = Path(config_dir) / group / f"{option}.yaml"
        if group != "sweep" and file.is_file():
            found[group] = read_file(file)
    return found


def _defaults(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The shipped defaults, resolved, of sections whose keys may be arguments of the user's."""
    data = plain.get("data")
    if not isinstance(data, dict) or "_target_" not in data:
        return {}
    config = OmegaConf.create(read_file(conf_folder() / f"{CONFIG_NAME}.yaml"))
    return {"data": OmegaConf.to_container(OmegaConf.select(config, "data"), resolve=True)}


@contextmanager
def _hydra(config_dir: str | None) -> Iterator[Any]:
    """Set Hydra up for the catalogue and `--config-dir`; yield its config loader."""
    path = create_config_search_path(search_path(conf_folder()))
    if config_dir is not None:
        folder = Path(config_dir).resolve()
        if not folder.is_dir():
            raise UserError(f"--config-dir: there is no folder {folder}")
        path.prepend("command-line", search_path(folder))
    hydra.version.setbase(VERSION_BASE)
    users = GlobalHydra.instance().hydra  # of a program of the user's that uses Hydra, too
    GlobalHydra.instance().clear()
    Hydra.create_main_hydra2("lrsearch", path)
    try:
        yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().clear()
        GlobalHydra.instance().hydra = users


def _parse(
    overrides: Sequence[str], groups: set[str], loader: Any, problems: list[str]
) -> list[Override]:
    def is_word(key: str, value: str) -> bool:
        if key in groups:
            # A mapping has a group's parameters; with commas it is a multirun, which is refused.
            is_list = "," in value or value[0] in "{["
            return not is_list or value in loader.get_group_options(key)
        return key in WORDS

    parsed = []
    for text in overrides:
        try:
            override = parse_override(as_word(text, is_word))
        except HydraException:
            problems.append(_not_a_pair(_shown(text)))
            continue
        if override.is_sweep_override():
            problems.append(
                f"{_shown(text)}: Hydra's multirun is not used: a search space says the same, "
                f"and prunes: space.lr.choices=[0.1,0.01] with sampler=grid"
            )
        else:
            parsed.append(override)
    return parsed


def _not_a_pair(text: str) -> str:
    key, _, value = text.partition("=")
    problem = f"{text}: not of the form key=value"
    if not value or not _KEY.fullmatch(key):
        return problem
    unquoted = re.sub('"[^"]*"', "", value)
    if value[0] == "[" and (word := re.search(r"[^\s,\[]+=[^\s,\]]*", unquoted)):
        return f'{problem}; a word with = in a list needs quotes: "{word[0]}"'
    if value[0] in "[{" and re.search(r"{[\w.]+}", unquoted):
        return f'{problem}; a value in braces needs quotes: "{{lr}}"'
    if '"' in value:
        return problem
    if value[0] in "[{":
        return f'{problem}; text in it with signs such as ^ needs quotes: match: "^head"'
    argument = shlex.quote(f'{key}="{value}"')
    return f"{problem}; to give it that value, write {argument}, with all of these quotes"


def _check_groups(
    parsed: list[Override],
    groups: set[str],
    loader: Any,
    sweeps: dict[str, Sweep],
    problems: list[str],
) -> list[str]:
    """The overrides that choose a part, in Hydra's form; unknown parts are problems."""
    chosen = []
    for override in parsed:
        if not _chooses(override, groups):
            continue
        value = override.value()
        value = value if isinstance(value, str) else override.get_value_string()
        group = override.key_or_group
        options = loader.get_group_options(group)
        if value not in options:
            known = f"\n{sweep_list(sweeps)}" if group == "sweep" else ""
            problems.append(f"{group}: {unknown(value, options)}{known}")
            continue
        if group == "sweep" and value in sweeps and (problem := sweeps[value].problem):
            problems.append(problem)
            continue
        chosen.append(f"{'+' if group == 'sweep' else ''}{group}={quoted(value)}")
    sweep = [override for override in parsed if override.key_or_group == "sweep"]
    problems.extend(
        f"{override.input_line}: there is no sweep to take away; +sweep=NAME chooses one"
        for override in sweep
        if override.is_delete()
    )
    if not any(_chooses(override, groups) for override in sweep):
        hint = _meant_sweep(parsed) or "add +sweep=NAME:"
        problems.append(f"no sweep is chosen; {hint}\n{sweep_list(sweeps)}")
    return chosen


def _meant_sweep(parsed: list[Override]) -> str | None:
    """The question whether a key such as `sweeps` was meant to be `sweep`; None where none is."""
    for override in parsed:
        key, is_name = override.key_or_group, isinstance(override.value(), str)
        if key != "sweep" and is_name and difflib.get_close_matches(key, ["sweep"], 1, 0.8):
            meant = shlex.quote(f"+sweep={override.get_value_string()}")
            return f"did you mean {meant} in place of {override.input_line}?"
    return None


def _chooses(override: Override, groups: set[str]) -> bool:
    """Whether an override chooses an option of a group, even none that exists (`data=null`).

    A mapping has a group's parameters.
    """
    is_mapping = isinstance(override.value(), dict)
    return override.key_or_group in groups and not override.is_delete() and not is_mapping


def _let_in(override: Override) -> str:
    """The override in the form that Hydra accepts for any key (`++key=value`)."""
    text = (override.input_line or "").lstrip("+")
    if override.is_delete():
        return text
    if (value := value_of(override)) != override.value():
        text = f"{text.partition('=')[0]}={written(value)}"
    return f"++{text}"


def _mentioned(parsed: list[Override]) -> dict[str, Any]:
    """The keys that the command line sets, as a tree."""
    tree: dict[str, Any] = {}
    for override in parsed:
        if override.is_delete():
            continue
        *path, last = override.key_or_group.split(".")
        node = tree
        for key in path:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                break
        else:
            node[last] = value_of(override)
    return tree


def _shown(text: str) -> str:
    """An override that cannot be parsed, without what may be a password."""
    key, equals, _ = text.partition("=")
    return f"{key}{equals}..." if "storage" in key or "://" in text else text


def _missing(error: MissingConfigException, sweep: str) -> str:
    """The problem with `defaults` that choose an unknown part; names the file."""
    place = _PLACE.match(str(error))
    if not error.options or place is None:
        return _in_words(error)
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    # What a sweep overrides is chosen in the main file.
    file = f"sweep/{sweep}" if place[1] == CONFIG_NAME else place[1]
    return f"{group}: {unknown(option, error.options)}, in the defaults of {file}"


def _in_words(error: BaseException) -> str:
    """The message of an error and of its causes, in one line."""
    words = []
    cause: BaseException | None = error
    while cause is not None:
        words += [" ".join(str(cause).split())] if str(cause).strip() else []
        cause = cause.__cause__
    if "Cannot merge DictConfig with ListConfig" in words[-1]:
        key = words[-1].partition("full_key: ")[2].split(" ")[0]
        if "object_type=list" in words[-1]:
            words.append(f"it is a list: write {key}=[...]")
        elif key.startswith("space."):
            words.append(f"to replace a range by a list of values write {key}.choices=[...]")
        else:
            words.append(f"it has keys of its own: write {key}.KEY=VALUE")
    return "; ".join(words)


def _container(config: DictConfig, resolve: bool = False) -> dict[str, Any]:
    container = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
