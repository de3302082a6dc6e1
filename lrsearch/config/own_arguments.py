"""Tell the arguments of the user's function beside `_target_` from lrsearch's own settings.

A name that the function's signature has is the function's, and only its. One that it has not is
lrsearch's where it means something for the user's own code, else an error. Where the signature
leaves both open (`**kwargs`), it is refused, unless `arguments` says what is the function's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from lrsearch.data.spec import DataSpec
from lrsearch.errors import UserError
from lrsearch.own_code import Signature, load_target, name_of
from lrsearch.text.hints import as_given, unknown

ARGUMENTS = "arguments"
"""The key under which the function's arguments may stand that are named like lrsearch's."""
_CATALOGUE = {
    "data": frozenset({"name", "root", "validation", "fallback"}),
    "model": frozenset({"name"}),
    "objective": frozenset(),
}
"""Keys of lrsearch's that say something of the catalogue's parts alone."""
_OWN_TOO = {
    "data": frozenset(field.name for field in fields(DataSpec))
    - {"target", ARGUMENTS}
    - _CATALOGUE["data"],
    "model": frozenset(),
    "objective": frozenset({"strict_lr"}),
}
"""Those that hold for the user's own code, too."""
OURS = {section: _OWN_TOO[section] | _CATALOGUE[section] for section in _OWN_TOO}
"""All keys of lrsearch's, by section."""
_SEARCHED = ("crop", "flip")
"""Those that can be searched."""


def settle_arguments(
    section: str,
    node: Mapping[str, Any],
    given: Collection[str],
    tuned: Collection[str],
    defaults: Mapping[str, Any],
    problems: list[str],
) -> dict[str, Any]:
    """Put the function's arguments that are named like lrsearch's under `arguments`.

    `given` are the keys that the user has written, `tuned` the names searched under
    `space.SECTION`; `defaults` hold lrsearch's values of keys that turn out to be the function's.
    Imports the user's code; what it raises is passed on.
    """
    try:
        function = load_target(str(node["_target_"]), section)
    except UserError as error:
        problems.append(str(error))
        return dict(node)
    owners = _Owners(section, function, node.get(ARGUMENTS))
    own = owners.explicit
    settled: dict[str, Any] = {}
    for key, value in node.items():
        is_named_alike = key in owners.ours or key == ARGUMENTS
        if key == "_target_" or (is_named_alike and key not in given):
            settled[key] = value
        elif key == ARGUMENTS and owners.explicit is not None and key not in owners.names:
            continue
        elif problem := owners.problem(key) or owners.problem_of_two(key, value):
            problems.append(problem)
        elif is_named_alike and key in owners.names:
            own = {**(own or {}), key: value}
        else:
            settled[key] = value
    problems.extend(owners.problems_of_search(tuned))
    if own is None:
        return settled
    return settled | {key: defaults[key] for key in own if key in defaults} | {ARGUMENTS: own}


class _Owners:
    """Decides for each name beside a `_target_` whether it is the function's or lrsearch's."""

    def __init__(self, section: str, function: Any, explicit: Any) -> None:
        """`explicit` is the node under `arguments`, None where there is none."""
        self._signature, self._called = Signature.of(function), name_of(function)
        self._section = section
        self.names = {*self._signature.named, *self._signature.leading}
        self.ours = OURS[section]
        is_explicit = isinstance(explicit, Mapping) and ARGUMENTS not in self.names
        self.explicit: dict[str, Any] | None = dict(explicit) if is_explicit else None

    def problem(self, name: str, prefix: str = "") -> str | None:
        """What is wrong with a name; None if it clearly is the function's or lrsearch's."""
        key = f"{prefix}{self._section}.{name}"
        if name in self.names:
            return None
        if name not in self.ours:
            if self._signature.is_open:
                return None
            return f"{key}: {unknown(name, self._valid())}"
        if self._signature.is_open and self.explicit is None:
            return (
                f"{key}: {self._called} may take any name, so this may be its argument or a "
                f"setting of lrsearch: name it in the signature of {self._called}, or put the "
                f"arguments of {self._called} under {self._section}.{ARGUMENTS} ({{}} for none): "
                f"what stands beside that is lrsearch's"
            )
        if name in _OWN_TOO[self._section]:
            return None
        return (
            f"{key}: {self._called} has no such argument, and the setting of lrsearch is of the "
            f"catalogue's {self._section} alone (valid: {', '.join(self._valid())})"
        )

    def problem_of_two(self, name: str, value: Any) -> str | None:
        """The problem with an argument given beside `_target_` and under `arguments`, else None."""
        is_ours = name in self.ours and name not in self.names
        if is_ours or name not in (self.explicit or {}):
            return None
        key, other_key = f"{self._section}.{name}", f"{self._section}.{ARGUMENTS}.{name}"
        other = as_given((self.explicit or {})[name])
        return (
            f"{key}: {self._called} is given this argument twice, {key}={as_given(value)} and "
            f"{other_key}={other}: leave one of them out"
        )

    def problems_of_search(self, tuned: Collection[str]) -> list[str]:
        """What is wrong with the names searched under `space`."""
        searched = [name for name in _SEARCHED if name in self.ours]
        problems = []
        for name in tuned:
            problem = self.problem(name, "space.")
            if problem is None and name in self.ours - self.names and name not in searched:
                valid = [*self._signature.named, *searched]
                problem = f"space.{self._section}.{name}: {unknown(name, valid)}"
            problems += [problem] if problem else []
        return problems

    def _valid(self) -> list[str]:
        return [*self._signature.named, *sorted(_OWN_TOO[self._section] - self.names)]
