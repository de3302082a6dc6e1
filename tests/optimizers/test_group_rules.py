"""Rules of parameter groups, as they are configured and stored."""

from __future__ import annotations

from typing import Any

import pytest

from lrsearch.optimizers import OPTIMIZERS
from lrsearch.optimizers.group_rules import GroupRule, parse_rules

SGD = OPTIMIZERS["sgd"].parameters


def parse(node: Any) -> tuple[GroupRule, ...]:
    problems: list[str] = []
    rules = parse_rules("train.groups", node, problems)
    assert problems == []
    return rules


def test_a_shipped_rule_is_a_word_or_a_mapping_with_arguments() -> None:
    assert parse(["no_decay", "head"]) == parse([{"use": "no_decay"}, {"use": "head"}])
    (head,) = parse([{"use": "head", "match": "^fc", "lr_factor": 3.0, "momentum": 0.5}])
    assert head == GroupRule("head", "head", "^fc", {"lr_factor": 3.0, "momentum": 0.5})


def test_the_defaults_of_shipped_rules_are_written_out() -> None:
    found = {rule.name: dict(rule.arguments) for rule in parse(["no_decay", "head", "layer_decay"])}
    assert found == {
        "no_decay": {"weight_decay": 0.0},
        "head": {"lr_factor": 10.0},
        "layer_decay": {"decay": 0.75},
    }


def test_rules_survive_their_plain_form() -> None:
    rules = parse(["no_decay", {"name": "stem", "match": "^conv", "weight_decay": 0.1}])
    assert parse([rule.to_dict() for rule in rules]) == rules


def test_nothing_is_no_rule() -> None:
    assert parse(None) == parse([]) == ()


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("head", "train.groups: 'head' is not a list of rules"),
        ({"head": {}}, "is not a list of rules"),
        (["haed"], "train.groups[0]: 'haed' is unknown; did you mean head?"),
        ([5], "train.groups[0]: '5' is unknown"),
        ([{"match": "x"}], "train.groups[0]: name is missing"),
        ([{"name": "a"}], "train.groups[0].match is missing"),
        ([{"name": "a.b", "match": "x"}], "train.groups[0].name: 'a.b' is not a plain word"),
        ([{"name": "head", "match": "x"}], "write use instead"),
        ([{"name": "default", "match": "x"}], "default is the group of the rest"),
        ([{"name": "a", "use": "head"}], "give name and match for a rule of yours, or use"),
        ([{"name": "a", "match": "("}], "train.groups[0].match: '(' is not a regular expression"),
        ([{"name": "a", "match": 3}], "train.groups[0].match: 3 is not a regular expression"),
        ([{"use": "layer_decay", "match": "x"}], "layer_decay takes no match"),
        ([{"use": "layer_decay", "decay": 1.5}], "layer_decay.decay: 1.5 is out of range"),
        ([{"use": "layer_decay", "momentum": 0.5}], "'momentum' is unknown (valid: decay)"),
        ([{"name": "a", "match": "x", "lr_factor": -1}], "lr_factor: -1 is out of range"),
        ([{"name": "a", "match": "x", "momentun": 0}], "did you mean momentum?"),
        ([{"name": "a", "match": "x", "betas": [0.9, 0.9]}], "'betas' is unknown"),
        (["head", {"use": "head"}], "train.groups[1]: a rule named head is there already"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(node: Any, said: str) -> None:
    problems: list[str] = []
    found = parse_rules("train.groups", node, problems)
    problems += [f"{rule.name}.{one}" for rule in found for one in rule.problems(SGD)]
    assert said in "\n".join(problems)


def test_all_problems_are_told_at_once() -> None:
    problems: list[str] = []
    parse_rules("train.groups", ["haed", {"name": "a", "match": "("}, {"name": "b"}], problems)
    assert len(problems) == 3


def test_an_optimizer_gets_what_it_takes() -> None:
    rule = GroupRule("a", None, "x", {"lr_factor": 2.0, "momentum": 0.5, "weight_decay": 0.1})
    for_adam = rule.with_arguments({"weight_decay": 0.2}, OPTIMIZERS["adam"].parameters)
    assert dict(for_adam.arguments) == {"lr_factor": 2.0, "weight_decay": 0.2}
