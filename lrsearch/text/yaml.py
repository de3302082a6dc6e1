"""YAML in and out, by one set of rules for every file and for the command line.

A word without quotes is read as:

- `null`, `~` or nothing: None;
- `true`, `false`, `yes`, `no`, `on`, `off`, in any case: a bool;
- a whole number or a float as Python writes them (`10`, `1_000`, `0x1F`, `.5`, `1e-3`), and
  `inf`, `.inf`, `nan`, `.nan`, with a sign or without, in any case: a number;
- anything else, dates, `1:30` and `007` included: text.

What is in quotes is text, and so is a key (`nan: fail`, `on: 1`). PyYAML, OmegaConf and Hydra
differ in these points from each other.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from lrsearch.errors import UserError

LARGEST_FILE = 1 << 20
"""Bytes of a file that is still read."""
LARGEST_TREE = 100_000
"""Values in a file, those that an alias stands for counted each time."""
DEEPEST = 50
"""Lists and mappings within each other."""

_NULLS = ("", "~", "null")
_TRUE = ("true", "yes", "on")
_FALSE = ("false", "no", "off")
_WHOLE = re.compile(
    r"[-+]?(0|[1-9](_?[0-9])*|0[xX](_?[0-9a-fA-F])+|0[oO](_?[0-7])+|0[bB](_?[01])+)"
)
_DIGITS = "[0-9](_?[0-9])*"
_FLOAT = re.compile(
    rf"[-+]?((0|[1-9](_?[0-9])*)(\.({_DIGITS})?)?|\.{_DIGITS})([eE][-+]?{_DIGITS})?"
)
_SPECIAL = re.compile(r"[-+]?\.?(inf|nan)", re.IGNORECASE)
_BREAKS = re.compile("[\x85\u2028\u2029]")
_LONGEST_NUMBER = 400
_WITHOUT_QUOTES = "!without-quotes"
_CORE = "tag:yaml.org,2002:"


class YamlError(UserError):
    """A text is not YAML of this kind; the message has its place and line."""


def scalar(text: str) -> Any:
    """The value of a word without quotes."""
    lower = text.lower()
    if lower in _NULLS:
        return None
    if lower in _TRUE:
        return True
    if lower in _FALSE:
        return False
    if len(text) > _LONGEST_NUMBER:
        return text
    if _WHOLE.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(lower.replace(".", "")) if _SPECIAL.fullmatch(text) else text


def read_file(path: Path, words: Collection[str] = ()) -> Any:
    """The content of a YAML file.

    `words` are dotted keys whose values are names (`study.name`, or `defaults[].*` for all keys of
    the mappings in a list): what is not null is text, as it was typed.
    Only regular files of at most `LARGEST_FILE` bytes are opened. Raises YamlError, with the file
    and the line.
    """
    return parse(_text(path), str(path), words)


def parse(text: str, place: str, words: Collection[str] = ()) -> Any:
    """The content of a YAML text; `place` is what an error says of where it stands."""
    try:
        _check_depth(text, place)
        root = yaml.compose(text, Loader=_Loader)
        if root is None:
            return None
        _check_size(root, place)
        return _Reader(place, frozenset(words)).value(root, "")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f":{mark.line + 1}"
        said = ", ".join(" ".join(one.split()) for one in (error.context, error.problem) if one)
        raise YamlError(f"{place}{line}: this is not YAML: {said}") from None
    except yaml.reader.ReaderError as error:
        found = error.character
        code = found if isinstance(found, int) else ord(str(found)[0])
        raise YamlError(f"{place}: the character U+{code:04X} is not allowed in YAML") from None


def to_yaml(value: Any, **options: Any) -> str:
    """A value as YAML that `parse` reads back as it was."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, **{"sort_keys": False, "allow_unicode": True, **options}
    )
    return text


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Leaves it to `scalar` what a word without quotes is."""

    yaml_implicit_resolvers = {None: [(_WITHOUT_QUOTES, re.compile("", re.DOTALL))]}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    """Puts text in quotes wherever `scalar` would take it for something else."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(scalar(text), str) else "'"
    if _BREAKS.search(text):
        style = '"'  # in other styles they would be folded
    return dumper.represent_scalar(f"{_CORE}str", text, style=style)


_Dumper.add_representer(str, _represent_text)


class _Reader:
    """Turns the nodes of one document into plain values."""

    def __init__(self, place: str, words: frozenset[str]) -> None:
        self._place, self._words = place, words

    def value(self, node: yaml.Node, path: str) -> Any:
        kind = node.tag.removeprefix(_CORE)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.value(item, f"{path}[]") for item in node.value]
        if isinstance(node, yaml.ScalarNode):
            text = str(node.value)
            if kind == _WITHOUT_QUOTES:
                read = scalar(text)
                return text if read is not None and self._is_word(path) else read
            if kind in ("str", "!"):
                return text
            if kind in ("null", "bool", "int", "float"):
                return self._as_tagged(node, kind, scalar(text))
        raise self._error(node, f"the tag {node.tag} is not allowed in it")

    def _is_word(self, path: str) -> bool:
        return path in self._words or f"{path.rpartition('.')[0]}.*" in self._words

    def _as_tagged(self, node: yaml.Node, kind: str, value: Any) -> Any:
        wanted = {"null": type(None), "bool": bool, "int": int, "float": float}[kind]
        if wanted is float and type(value) is int:
            return float(value)
        if type(value) is wanted:
            return value
        raise self._error(node, f"{node.value!r} is not of the type {kind}")

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key must be a word")
            if key_node.tag == _WITHOUT_QUOTES and key_node.value == "<<":
                merged |= self._merged(value_node, path)
                continue
            key = str(key_node.value)
            if key in found:
                raise self._error(key_node, f"the key {key_node.value} is given twice")
            found[key] = self.value(value_node, f"{path}.{key}" if path else key)
        return merged | found

    def _merged(self, node: yaml.Node, path: str) -> dict[str, Any]:
        """What `<<: *other` or `<<: [*one, *other]` brings in; the first has its way."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for one in nodes:
            if not isinstance(one, yaml.MappingNode):
                raise self._error(one, "`<<` takes a mapping, or a list of mappings")
            merged = self._mapping(one, path) | merged
        return merged

    def _error(self, node: yaml.Node, said: str) -> YamlError:
        return YamlError(f"{self._place}:{node.start_mark.line + 1}: {said}")


def _check_depth(text: str, place: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if depth > DEEPEST:
            line = event.start_mark.line + 1  # type: ignore[union-attr]
            raise YamlError(f"{place}:{line}: it is nested deeper than {DEEPEST} levels")


def _check_size(root: yaml.Node, place: str) -> None:
    """Raises YamlError for a value that contains itself, and for too many values."""
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        key = id(node)
        if key not in sizes:
            sizes[key] = None
            inner = node.value if isinstance(node, yaml.CollectionNode) else []
            parts = [one for item in inner for one in (item if isinstance(item, tuple) else [item])]
            sizes[key] = 1 + sum(map(size, parts))
        found = sizes[key]
        line = node.start_mark.line + 1
        if found is None:
            raise YamlError(f"{place}:{line}: a value contains itself")
        if found > LARGEST_TREE:
            raise YamlError(
                f"{place}:{line}: it stands for more than {LARGEST_TREE:,} values, "
                f"those that its aliases repeat included"
            )
        return found

    size(root)


def _text(path: Path) -> str:
    """The text of a regular file. What is none, such as a FIFO or a device, is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
                raise YamlError(f"{path} is {what}")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(LARGEST_FILE + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise YamlError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise YamlError(f"{path} is larger than the {LARGEST_FILE >> 20} MiB that are read")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlError(f"{path}:{line}: the text is not UTF-8") from None
