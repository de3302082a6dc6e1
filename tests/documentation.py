"""What the documentation shows: its pages, the files of its examples, and its commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import typer

from lrsearch.cli.catalogue import find_sweeps
from lrsearch.cli.commands import COMMANDS, app
from lrsearch.cli.compose import load_settings

REPO = Path(__file__).resolve().parent.parent
PAGES = [
    *(REPO / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPO / "docs").glob("*.md")),
]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^(?:\$ |srun )?(?:python -m )?lrsearch (.*)$", re.MULTILINE)
_FILE = re.compile(r"# (\S+\.(?:py|yaml|sh))\n")


@dataclass(frozen=True)
class Section:
    """A section of a page: the files that its examples show, and its commands in their order."""

    page: str
    title: str
    files: dict[str, str]
    """Name to content: blocks whose first line is a comment with the name."""
    commands: list[str]
    """Lines of `sh` blocks, which are run as they are printed where the section has files."""
    shown: list[list[str]]
    """The arguments of every `lrsearch` in its blocks of commands."""

    @property
    def name(self) -> str:
        """The page and the title, for a test's name."""
        return f"{self.page}: {self.title}"

    def write(self, folder: Path) -> None:
        """Write the files into a folder."""
        for name, text in self.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)


def sections(page: Path) -> list[Section]:
    """The sections of a page, by its headings of the second level."""
    found = []
    for part in re.split(r"^## ", page.read_text(), flags=re.MULTILINE):
        files, commands, shown = {}, [], []
        for language, body in _BLOCK.findall(part):
            if match := _FILE.match(body):
                files[match[1]] = body
            elif language in ("sh", "bash", "console"):
                shown += [shlex.split(line, comments=True) for line in _COMMAND.findall(body)]
                if language == "sh":
                    commands += [line for line in body.splitlines() if line]
        title = part.partition("\n")[0].removeprefix("# ")
        found.append(Section(page.name, title, files, commands, [one for one in shown if one]))
    return found


SECTIONS = [section for page in PAGES for section in sections(page)]
EXAMPLES = [section for section in SECTIONS if section.files]
SHOWN = [section for section in SECTIONS if section.shown and not section.files]


def problem(arguments: Sequence[str]) -> str | None:
    """What the command line says against `lrsearch ...`; None if it would run it."""
    return _problem(tuple(arguments))


@cache  # many pages show the same commands, and to compose a sweep takes a second
def _problem(arguments: tuple[str, ...]) -> str | None:
    if "=" in arguments[0]:
        load_settings(list(arguments))
        return None
    name, *rest = arguments
    if name == "submit":
        load_settings(list(rest) or ["+sweep=digits"])  # Compose appends what the user gives
        return None
    if name not in COMMANDS:
        return f"{name} is no command"
    command = typer.main.get_command(app).commands[name]
    try:
        command.make_context(name, list(rest))
    except Exception as error:  # noqa: BLE001 (Typer's class of it depends on the version)
        return f"{shlex.join(arguments)}: {error}"
    for key in (one.partition("=")[2] for one in rest if one.startswith("+sweep=")):
        assert key in find_sweeps()
    return None
