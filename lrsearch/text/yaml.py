"""Reading and writing YAML, by one set of rules for all files and the command line.

A word without quotes is read as:

- `null`, `~` or nothing: None;
- `true`, `false`, `yes`, `no`, `on`, `off`, in any case: a bool;
- a whole number or a float as Python writes them (`10`, `1_000`, `0x1F`, `.5`, `1e-3`), and
  `inf`, `.inf`, `nan`, `.nan`, with a sign or without, in any case: a number;
- anything else, including dates, `1:30` and `007`: text.

Words in quotes are text, and so are keys (`nan: fail`, `on: 1`). PyYAML, OmegaConf and Hydra each
have different rules in these points.
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
"""The most bytes of a file."""
LARGEST_TREE = 100_000
"""The most values in a file; those of an anchor are counted again for each of its aliases."""
DEEPEST = 50
"""The most levels of nested lists and mappings."""

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
    """A text is not YAML by these rules; the message has the file or source, and the line."""


def scalar(text: str) -> Any:
    """The value of a word without quotes, by the rules of this module."""
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
    """Read a YAML file.

    `words` are dotted keys whose values are names (`study.name`, or `defaults[].*` for all keys of
    the mappings in a list): values other than null stay text, as they were typed. Only regular
    files of at most `LARGEST_FILE` bytes are read. Raises YamlError with the file and the line.
    """
    return parse(_text(path), str(path), words)


def parse(text: str, place: str, words: Collection[str] = ()) -> Any:
    """Parse a YAML text, as `read_file` does; `place` names its source in messages."""
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
        reason = ", ".join(
            " ".join(text.split()) for text in (error.context, error.problem) if text
        )
        raise YamlError(f"{place}{line}: this is not YAML: {reason}") from None
    except yaml.reader.ReaderError as error:
        character = error.character
        code = character if isinstance(character, int) else ord(str(character)[0])
        raise YamlError(f"{place}: the character U+{code:04X} is not allowed in YAML") from None


def to_yaml(value: Any, **options: Any) -> str:
    """Write a value as YAML, from which `parse` reads an equal value."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, **{"sort_keys": False, "allow_unicode": True, **options}
    )
    return text


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A loader that tags words without quotes, which `scalar` then reads."""

    yaml_implicit_resolvers = {None: [(_WITHOUT_QUOTES, re.compile("", re.DOTALL))]}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes text which `scalar` would read as another type."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(scalar(text), str) else "'"
    if _BREAKS.search(text):
        style = '"'  # other styles fold such line breaks
    return dumper.represent_scalar(f"{_CORE}str", text, style=style)


_Dumper.add_representer(str, _represent_text)


class _Reader:
    """Converts the nodes of one document to plain values."""

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
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key must be a word")
            if key_node.tag == _WITHOUT_QUOTES and key_node.value == "<<":
                merged |= self._merged(value_node, path)
                continue
            key = str(key_node.value)
            if key in own:
                raise self._error(key_node, f"the key {key_node.value} is given twice")
            own[key] = self.value(value_node, f"{path}.{key}" if path else key)
        return merged | own

    def _merged(self, node: yaml.Node, path: str) -> dict[str, Any]:
        """The keys that `<<: *a` or `<<: [*a, *b]` merges; earlier mappings take precedence."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for mapping in nodes:
            if not isinstance(mapping, yaml.MappingNode):
                raise self._error(mapping, "`<<` takes a mapping, or a list of mappings")
            merged = self._mapping(mapping, path) | merged
        return merged

    def _error(self, node: yaml.Node, reason: str) -> YamlError:
        return YamlError(f"{self._place}:{node.start_mark.line + 1}: {reason}")


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
    """Raise YamlError for a value that contains itself, and for more than LARGEST_TREE values."""
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        key = id(node)
        if key not in sizes:
            sizes[key] = None
            inner = node.value if isinstance(node, yaml.CollectionNode) else []
            children = [
                child for item in inner for child in (item if isinstance(item, tuple) else [item])
            ]
            sizes[key] = 1 + sum(map(size, children))
        count = sizes[key]
        line = node.start_mark.line + 1
        if count is None:
            raise YamlError(f"{place}:{line}: a value contains itself")
        if count > LARGEST_TREE:
            raise YamlError(
                f"{place}:{line}: it stands for more than {LARGEST_TREE:,} values, "
                f"those that its aliases repeat included"
            )
        return count

    size(root)


def _text(path: Path) -> str:
    """Read a regular file of UTF-8 text, without blocking on a FIFO or a device.

    Raises YamlError if it is anything else, too large, or cannot be read.
    """
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
