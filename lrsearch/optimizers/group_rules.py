"""Rules that assign the parameters of a model to parameter groups of the optimizer.

`lrsearch.optimizers.parameter_groups` applies them to a model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lrsearch.parameters.parameter import Parameter
from lrsearch.text.hints import as_given, unknown, word

_NAME = re.compile(r"[A-Za-z_][\w-]*")
_FACTOR = "multiplies the learning rate in every step"


@dataclass(frozen=True)
class RuleKind:
    """A kind of rule: its arguments, and whether it takes `match`."""

    help: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """Its own arguments; those whose default is None may be left out."""
    match: str | None = None
    """Help for `match`; None if the kind takes no `match`."""
    takes_optimizer_arguments: bool = False
    """Whether it can set arguments of the optimizer for its parameters."""


SHIPPED: dict[str, RuleKind] = {
    "head": RuleKind(
        "the last module with parameters learns faster",
        {"lr_factor": Parameter("float", 10.0, 0.0, help=_FACTOR)},
        match="the parameters of the head, where it is not the last module",
        takes_optimizer_arguments=True,
    ),
    "no_decay": RuleKind(
        "no weight decay for biases and parameters of norms",
        {"weight_decay": Parameter("float", 0.0, 0.0, help="of these parameters")},
        match="further parameters",
    ),
    "layer_decay": RuleKind(
        "the rate times decay ** depth, from the head downward",
        {"decay": Parameter("float", 0.75, 0.0, 1.0, open_low=True, help="factor of a block")},
    ),
}
"""The kinds of rules of the catalogue, by name."""
OWN = RuleKind(
    "parameters whose names match a regular expression",
    {"lr_factor": Parameter("float", None, 0.0, help=_FACTOR)},
    match="a regular expression",
    takes_optimizer_arguments=True,
)
"""The kind of all rules that the user defines."""


@dataclass(frozen=True)
class GroupRule:
    """A rule: the parameters of a model that it matches, and the arguments of their group.

    `use` names a kind of SHIPPED; None is a rule of the user's, for the parameters in whose names
    the regular expression `match` is found. `arguments` are those of the kind and of the optimizer.
    """

    name: str
    use: str | None = None
    match: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> RuleKind:
        """The kind of the rule."""
        return OWN if self.use is None else SHIPPED[self.use]

    def parameters(self, optimizer: Mapping[str, Parameter]) -> dict[str, Parameter]:
        """The arguments that can be set and searched, for an optimizer with these parameters."""
        further = optimizer if self.kind.takes_optimizer_arguments else {}
        return {**further, **self.kind.parameters}

    def with_arguments(
        self, searched: Mapping[str, Any], taken: Collection[str] | None
    ) -> GroupRule:
        """The rule with searched values, without arguments that the optimizer does not take.

        `taken` are the names that the optimizer takes; None keeps all arguments.
        """
        arguments = {**self.arguments, **searched}
        own = self.kind.parameters
        kept = {
            key: value
            for key, value in arguments.items()
            if taken is None or key in own or key in taken
        }
        return GroupRule(self.name, self.use, self.match, kept)

    def problems(self, optimizer: Mapping[str, Parameter]) -> list[str]:
        """A line for each bad argument, for an optimizer that has these parameters."""
        known = self.parameters(optimizer)
        valid = [*known, *(() if self.kind.match is None else ("match",))]
        return [
            f"{key}: {problem}"
            for key, value in self.arguments.items()
            if (problem := known[key].problem(value) if key in known else unknown(key, valid))
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the form of a configuration, which `parse_rules` reads."""
        head = {"name": self.name} if self.use is None else {"use": self.use}
        match = {} if self.match is None else {"match": self.match}
        return {**head, **match, **self.arguments}


def parse_rules(path: str, node: Any, problems: list[str]) -> tuple[GroupRule, ...]:
    """Read the rules of a configuration or a recipe; add a line to `problems` for each mistake.

    Arguments are checked later by `GroupRule.problems`, which needs the optimizer.
    """
    if node is None:
        return ()
    if not isinstance(node, Sequence) or isinstance(node, str):
        problems.append(
            f"{path}: {as_given(node)} is not a list of rules, such as [no_decay, head] or "
            f"[{{name: embeddings, match: ^embed, lr_factor: 0.1}}]"
        )
        return ()
    rules: dict[str, GroupRule] = {}
    for index, item in enumerate(node):
        rule = _parse_rule(f"{path}[{index}]", item, problems)
        if rule is not None and rule.name in rules:
            problems.append(f"{path}[{index}]: a rule named {rule.name} is there already")
        elif rule is not None:
            rules[rule.name] = rule
    return tuple(rules.values())


def regex_problem(value: Any) -> str | None:
    """Why a value is not a regular expression, for a message; None if it is."""
    if not isinstance(value, str) or not value:
        return f"{as_given(value)} is not a regular expression for names of parameters"
    try:
        re.compile(value)
    except re.error as error:
        return f"{value!r} is not a regular expression: {error}"
    return None


def _parse_rule(path: str, node: Any, problems: list[str]) -> GroupRule | None:
    """Read one rule; None if it has no valid name, after adding to `problems`."""
    if not isinstance(node, Mapping):
        node = {"use": node}
    arguments = {str(key): value for key, value in node.items() if value is not None}
    use, name, match = (arguments.pop(key, None) for key in ("use", "name", "match"))
    before = len(problems)
    if use is not None and name is not None:
        problems.append(f"{path}: give name and match for a rule of yours, or use for one of ours")
    elif use is not None and word(use) not in SHIPPED:
        problems.append(f"{path}: {unknown(use, SHIPPED)}; a rule of yours has a name and a match")
    elif use is None and name is None:
        problems.append(
            f"{path}: name is missing; or give use: one of {', '.join(SHIPPED)}, a rule by name"
        )
    elif use is None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
        problems.append(f"{path}.name: {as_given(name)} is not a plain word")
    elif use is None and name in (*SHIPPED, "default"):
        whose = "a rule of ours: write use instead" if name in SHIPPED else "the group of the rest"
        problems.append(f"{path}.name: {name} is {whose}")
    if len(problems) > before:
        return None
    kind = OWN if use is None else SHIPPED[use]
    if match is not None and kind.match is None:
        problems.append(f"{path}.match: {use} takes no match")
    elif match is None and use is None:
        problems.append(f"{path}.match is missing: a regular expression for names of parameters")
    elif match is not None and (problem := regex_problem(match)):
        problems.append(f"{path}.match: {problem}")
    defaults = {k: p.default for k, p in kind.parameters.items() if p.default is not None}
    return GroupRule(str(name if use is None else use), use, match, {**defaults, **arguments})
