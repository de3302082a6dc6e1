"""How workers serve a study: the keys of the section `study` that `lrsearch set` can change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsearch.config.sections import key_of, mapping, section
from lrsearch.errors import ConfigErrors
from lrsearch.settings import SERVICE_KEYS, Needs, ServiceSettings
from lrsearch.text.hints import as_given, unknown

_LONGEST_WORD = 100
_NOT_IN_WORDS = frozenset(" ,=[]{}'\"")
"""Characters that separate words, or quote them, where lists of words are written."""


def service_values(node: dict[str, Any], path: str, problems: list[str]) -> dict[str, Any]:
    """Return a section with `needs` as an object, for `section`.

    In the node itself tags, labels and the owner get the form in which they are stored.
    """
    if "tags" in node:
        node["tags"] = words_from(node["tags"], key_of(path, "tags"), problems)
    if node.get("owner") is not None and (problem := _problem_of_owner(node["owner"])):
        problems.append(f"{key_of(path, 'owner')}: {as_given(node.pop('owner'))} {problem}")
    at = key_of(path, "needs")
    needs = mapping(at, node.get("needs"), problems)
    if "labels" in needs:
        needs["labels"] = words_from(needs["labels"], f"{at}.labels", problems)
    if "needs" in node:
        node["needs"] = needs
    return {**node, "needs": section(at, needs, Needs, problems) or Needs()}


def words_from(value: Any, path: str, problems: list[str]) -> list[str]:
    """Read tags or labels: a list of words, or one word."""
    words = [] if value is None else value if isinstance(value, list | tuple) else [value]
    for word in words:
        if problem := problem_of_word(word):
            problems.append(f"{path}: {as_given(word)} {problem}")
    return [word for word in dict.fromkeys(map(str, words)) if not problem_of_word(word)]


def problem_of_word(word: object) -> str | None:
    """Why this cannot be a tag or a label, which stand in lists; None if it can."""
    if not isinstance(word, str):
        return "is not a word; with quotes it is one"
    if not word or not word.isprintable() or _NOT_IN_WORDS & set(word):
        return "is not a word: it must not be empty or have spaces, commas, quotes, brackets or ="
    return None if len(word) <= _LONGEST_WORD else f"has more than {_LONGEST_WORD} characters"


def _problem_of_owner(owner: object) -> str | None:
    if not isinstance(owner, str) or not owner.strip() or not owner.isprintable():
        return "is not a name; null is nobody"
    return None if len(owner) <= _LONGEST_WORD else f"has more than {_LONGEST_WORD} characters"


def read_changes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check values by key, as `lrsearch set` gets them; return them as they are stored.

    Keys are SERVICE_KEYS. Raises ConfigErrors with every problem.
    """
    known = {key: value for key, value in values.items() if key in SERVICE_KEYS}
    problems = [
        f"{unknown(key, SERVICE_KEYS)}; other settings are changed by running the sweep again"
        for key in values
        if key not in known
    ]
    node: dict[str, Any] = {}
    for key, value in known.items():
        above, _, last = key.rpartition(".")
        (node.setdefault(above, {}) if above else node)[last] = value
    service = section("", service_values(node, "", problems), ServiceSettings, problems)
    if problems or service is None:
        raise ConfigErrors(problems)
    stored = service.stored()
    return {key: stored[key] for key in known}
