"""The command line of a script: its placeholders, filled with the values of a recipe."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import string
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrsearch.errors import UserError
from lrsearch.recipe import COMMON, Recipe
from lrsearch.text.hints import as_given, closest

OF_TRIAL = ("seed", "epochs", "steps", "device", "checkpoint_dir", "recipe_file")
"""Placeholders for values that are not of the recipe."""
BRANCHES = ("optimizer", "scheduler")
ALWAYS = frozenset({*OF_TRIAL, *BRANCHES, "lr", "batch_size", "warmup"} - {"steps"})
"""Placeholders that have a value in every trial."""
PYTHON = "python"
"""The command that stands for the interpreter that runs lrsearch."""


@dataclass(frozen=True)
class Argument:
    """An argument of a command line, divided at its placeholders."""

    parts: tuple[tuple[str, str | None], ...]
    """Pairs of a literal text and the name of the placeholder after it; None after the last."""

    @classmethod
    def parse(cls, text: str) -> Argument:
        """Read `--lr={lr}`; `{{` and `}}` are braces. Raises ValueError with the reason."""
        try:
            parsed = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"{error}; a brace that is meant literally is doubled") from None
        for _, name, spec, conversion in parsed:
            if name is not None and (spec or conversion or not _is_name(name)):
                shown = (
                    name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
                )
                raise ValueError(
                    f"{{{shown}}} is not the name of a value; double braces that are meant "
                    f"literally: {{{{{shown}}}}}"
                )
        return cls(tuple((literal, name) for literal, name, _, _ in parsed))

    @property
    def names(self) -> list[str]:
        """The names of its placeholders."""
        return [name for _, name in self.parts if name is not None]

    @property
    def is_value_alone(self) -> bool:
        """Whether it is a placeholder and nothing else."""
        return len(self.parts) == 1 and self.parts[0][0] == "" and bool(self.names)

    @property
    def names_its_value(self) -> bool:
        """Whether it says what its value is for: `--lr={lr}`, `train.lr={lr}`, `-j{workers}`."""
        before = self.parts[0][0] if self.parts else ""
        return before.startswith("-") or "=" in before

    @property
    def is_flag(self) -> bool:
        """Whether it is an option whose value may come next: `--lr`."""
        return not self.names and bool(self.parts) and self.parts[0][0].startswith("-")

    def fill(self, values: Mapping[str, Any]) -> str:
        """The text with the values in place."""
        return "".join(
            literal if name is None else literal + in_words(values[name])
            for literal, name in self.parts
        )


@dataclass(frozen=True)
class CommandLine:
    """The command line of a script, as it is configured."""

    arguments: tuple[Argument, ...]

    @classmethod
    def parse(cls, command: str | Sequence[Any], where: str, problems: list[str]) -> CommandLine:
        """Read a list of words, or a text that is divided as a shell divides it.

        What is wrong goes to `problems`, a line each, which begins with `where`.
        """
        words: list[Any]
        if isinstance(command, str):
            try:
                words = list(shlex.split(command))
            except ValueError as error:
                problems.append(f"{where}: {as_given(command)} cannot be divided: {error}")
                return cls(())
        elif isinstance(command, list | tuple):
            words = list(command)
        else:
            problems.append(
                f"{where}: {as_given(command)} is not a list of words, such as "
                f'[{PYTHON}, train.py, --lr, "{{lr}}"]'
            )
            return cls(())
        if not words or not str(words[0]).strip():
            problems.append(f"{where}: it is empty; name a program, such as [{PYTHON}, train.py]")
        arguments = []
        for word in words:
            if isinstance(word, Mapping) and len(word) == 1 and [*word.values()] == [None]:
                # YAML reads {lr} without quotes as a mapping.
                problems.append(f'{where}: write "{{{next(iter(word))}}}" in quotes')
            elif word is None or isinstance(word, list | tuple | Mapping):
                problems.append(f"{where}: {as_given(word)} is not a word")
            else:
                try:
                    arguments.append(Argument.parse(in_words(word)))
                except ValueError as error:
                    problems.append(f"{where}: {as_given(word)}: {error}")
        return cls(tuple(arguments))

    @property
    def names(self) -> list[str]:
        """The names of all placeholders, each once."""
        return [*dict.fromkeys(name for argument in self.arguments for name in argument.names)]

    @property
    def gives_recipe(self) -> bool:
        """Whether it has any value of the recipe."""
        return not {*self.names} <= {*OF_TRIAL} - {"recipe_file"}

    def check(self, names: Names, where: str, problems: list[str]) -> None:
        """Check the placeholders against the names that recipes can have values for."""
        for at, argument in enumerate(self.arguments):
            for name in argument.names:
                if name not in names.all:
                    problems.append(
                        f"{where}: {{{name}}} is unknown{closest(name, names.all)} "
                        f"(valid: {', '.join(sorted(names.all))})"
                    )
                elif name not in names.always and not (
                    argument.names_its_value
                    or (argument.is_value_alone and at and self.arguments[at - 1].is_flag)
                ):
                    problems.append(
                        f"{where}: some recipes have no {{{name}}}; it can be left out only with "
                        f"its option: write --option, {{{name}}} or --option={{{name}}}"
                    )

    def words(self, values: Mapping[str, Any]) -> list[str]:
        """The words of the command, the placeholders filled.

        An argument without its value is left out, and so is the option before it. A list that is
        an argument by itself becomes several.
        """
        words: list[str] = []
        for at, argument in enumerate(self.arguments):
            if any(values.get(name) is None for name in argument.names):
                if argument.is_value_alone and at and self.arguments[at - 1].is_flag:
                    words.pop()
                continue
            value = values[argument.names[0]] if argument.is_value_alone else None
            if isinstance(value, list | tuple):
                words += [in_words(item) for item in value]
            else:
                words.append(argument.fill(values))
        return words


@dataclass(frozen=True)
class Names:
    """The names of placeholders."""

    all: Collection[str]
    """Those that the recipes of a space can have values for."""
    always: Collection[str]
    """Those that have a value in every recipe."""


def values_of(recipe: Recipe) -> dict[str, Any]:
    """The values of a recipe by the names of placeholders; None where it has none."""
    values: dict[str, Any] = {name: getattr(recipe, name) for name in (*COMMON, "lr_ref")}
    for branch in BRANCHES:
        part = getattr(recipe, branch)
        values[branch] = part.name
        for owner in (branch, part.name):
            values |= {f"{owner}.{name}": value for name, value in part.arguments.items()}
    for owner in ("model", "data"):
        values |= {f"{owner}.{name}": value for name, value in getattr(recipe, owner).items()}
    for rule in recipe.groups:
        values |= {f"groups.{rule.name}.{name}": v for name, v in rule.arguments.items()}
    return values


def in_words(value: Any) -> str:
    """A value as a word of a command line; a list or a mapping as JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | Mapping):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, float):
        return repr(value)
    return str(value)


def program(word: str, where: str = "objective.command") -> str:
    """The path of the program that the first word names.

    `python` is the interpreter that runs lrsearch; other names are looked for beside it, where
    `torchrun` and the like are installed with torch, then on the PATH. Raises UserError if there is
    no such program, or it cannot be executed.
    """
    if word == PYTHON:
        return sys.executable
    if os.sep in word:
        path = Path(word).expanduser()
        if not path.is_file():
            raise UserError(f"{where}: there is no file {word!r}")
        if not os.access(path, os.X_OK):
            raise UserError(
                f"{where}: {word!r} cannot be executed: make it executable (chmod +x), or give its "
                f"interpreter first, such as [{PYTHON}, {word}]"
            )
        return str(path.absolute())
    beside = str(Path(sys.executable).parent)
    found = shutil.which(word, path=beside) or shutil.which(word)
    if found is None:
        advice = ""
        if Path(word).is_file():
            advice = f"; for the file of that name write ./{word}, or [{PYTHON}, {word}]"
        raise UserError(
            f"{where}: there is no program {word!r} on the PATH, nor beside lrsearch's "
            f"Python in {beside}{advice}"
        )
    return str(Path(found).absolute())


def check_runnable(line: CommandLine, where: str = "objective.command") -> None:
    """Check that the program and its script exist on this machine. Raises UserError."""
    first = line.arguments[0]
    if not first.names:
        program(first.fill({}), where)
    fixed = [argument.fill({}) for argument in line.arguments[1:] if not argument.names]
    scripts = [word for word in fixed if word.endswith(".py") and not word.startswith("-")]
    if scripts and not any(Path(script).is_file() for script in scripts):
        raise UserError(
            f"{where}: there is no file {scripts[0]!r} in the working directory {Path.cwd()}"
        )


def command_of(
    line: CommandLine, recipe: Recipe, of_trial: Mapping[str, Any], find: Callable[[str], str]
) -> list[str]:
    """The words of a recipe's command; `find` gives the path of the program."""
    name, *rest = line.words({**values_of(recipe), **of_trial})
    return [find(name), *rest]


def _is_name(text: str) -> bool:
    return bool(text) and all(part.replace("-", "_").isidentifier() for part in text.split("."))
