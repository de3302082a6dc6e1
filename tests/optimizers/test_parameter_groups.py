"""Rules applied to models: who is in which group, with which rate and weight decay."""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrsearch.errors import UserError
from lrsearch.models.cnn import CNN
from lrsearch.models.mlp import MLP
from lrsearch.models.resnet18 import ResNet18
from lrsearch.optimizers.group_rules import GroupRule, parse_rules
from lrsearch.optimizers.parameter_groups import check_freeze, check_rules, freeze, parameter_groups


def rules(*plain: Any) -> tuple[GroupRule, ...]:
    problems: list[str] = []
    found = parse_rules("train.groups", list(plain), problems)
    assert problems == []
    return found


def groups(model: nn.Module, *plain: Any) -> dict[str, dict[str, Any]]:
    return {group["name"]: group for group in parameter_groups(model, rules(*plain), 0.1)}


def members(model: nn.Module, *plain: Any) -> dict[str, list[str]]:
    return {name: group["param_names"] for name, group in groups(model, *plain).items()}


def factors(model: nn.Module, *plain: Any) -> dict[str, float]:
    """The factor of each parameter's rate."""
    found = groups(model, *plain).values()
    return {name: group["lr_factor"] for group in found for name in group["param_names"]}


class Transformer(nn.Module):
    """Like a small language model: embeddings, blocks in a list, a norm, a tied head."""

    def __init__(self, tie: bool = False) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, 5, 4))
        self.embed = nn.Embedding(7, 4)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"norm": nn.LayerNorm(4), "mlp": nn.Sequential(nn.Linear(4, 4))})
            for _ in range(3)
        )
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 7, bias=False)
        if tie:
            self.head.weight = self.embed.weight


class ScaleNorm(nn.Module):
    """A norm of the user's own, with a parameter of two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, 4))


# The user's rules


def test_the_first_rule_that_matches_wins_and_the_rest_is_the_default_group() -> None:
    found = members(
        MLP((4,), 2, hidden=(3,)),
        {"name": "biases", "match": r"\.bias$", "weight_decay": 0.0},
        {"name": "top", "match": "^head", "lr_factor": 2.0},
    )
    assert found == {
        "default": ["body.1.weight"],
        "biases": ["body.1.bias", "head.bias"],
        "top": ["head.weight"],
    }


def test_a_group_has_its_rate_and_the_arguments_that_are_given() -> None:
    rule = {"name": "top", "match": "^head", "lr_factor": 2.0, "momentum": 0.5}
    found = groups(MLP((4,), 2, hidden=(3,)), rule)
    given = {key: found["top"][key] for key in ("lr", "lr_factor", "momentum")}
    assert given == {"lr": 0.2, "lr_factor": 2.0, "momentum": 0.5}
    assert "weight_decay" not in found["top"]
    assert found["default"].keys() == {"name", "params", "param_names", "lr", "lr_factor"}


def test_the_default_group_comes_first_even_if_it_is_empty() -> None:
    found = members(nn.Linear(2, 2), {"name": "all", "match": ".", "lr_factor": 0.5})
    assert list(found) == ["default", "all"]
    assert found["default"] == []


@given(st.lists(st.sampled_from(["weight", "bias", "^blocks", "norm", "embed", "head", "1"])))
def test_every_parameter_is_in_exactly_one_group(patterns: Sequence[str]) -> None:
    model = Transformer()
    own = [{"name": f"r{k}", "match": one} for k, one in enumerate(patterns)]
    found = members(model, *own, "no_decay", "layer_decay")
    names = [name for group in found.values() for name in group]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())


# no_decay


def test_biases_and_norms_have_no_weight_decay() -> None:
    found = groups(Transformer(), "no_decay")
    assert found["no_decay"]["weight_decay"] == 0.0
    assert found["default"]["param_names"] == [
        "position",
        "embed.weight",
        *(f"blocks.{k}.mlp.0.weight" for k in range(3)),
        "head.weight",
    ]


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm1d(4),
        nn.BatchNorm2d(4),
        nn.BatchNorm3d(4),
        nn.SyncBatchNorm(4),
        nn.InstanceNorm1d(4, affine=True),
        nn.InstanceNorm2d(4, affine=True),
        nn.InstanceNorm3d(4, affine=True),
        nn.GroupNorm(2, 4),
        nn.LayerNorm((2, 4)),
        nn.RMSNorm((2, 4)),
        ScaleNorm(),
        type("Mine", (nn.LayerNorm,), {})((2, 4)),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_every_norm_is_known_by_its_type_whatever_its_name_and_shape(norm: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), norm)
    found = members(model, "no_decay")
    assert found["default"] == ["0.weight"]
    assert len(found["no_decay"]) == len(list(norm.parameters()))


def test_a_name_alone_makes_no_norm() -> None:
    model = nn.ModuleDict({"norm": nn.Linear(2, 2), "scale": nn.ParameterList([torch.ones(3)])})
    assert members(model, "no_decay") == {
        "default": ["norm.weight"],
        "no_decay": ["norm.bias", "scale.0"],
    }


def test_further_parameters_can_be_named() -> None:
    found = members(Transformer(), {"use": "no_decay", "match": "^(position|embed)"})
    assert found["no_decay"][:2] == ["position", "embed.weight"]


# head


@pytest.mark.parametrize(
    ("model", "head"),
    [
        (MLP((4,), 2), ["head.weight", "head.bias"]),
        (ResNet18((3, 8, 8), 2), ["head.weight", "head.bias"]),
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Flatten()),
         ["2.weight", "2.bias"]),
    ],
)  # fmt: skip
def test_the_head_is_the_last_module_with_parameters(model: nn.Module, head: list[str]) -> None:
    assert members(model, "head")["head"] == head


def test_match_names_another_head() -> None:
    found = members(Transformer(), {"use": "head", "match": r"^(norm|head)\."})
    assert found["head"] == ["norm.weight", "norm.bias", "head.weight"]


# layer_decay


def test_the_rate_falls_from_block_to_block_as_in_beit() -> None:
    found = factors(Transformer(), {"use": "layer_decay", "decay": 0.5})
    assert found["head.weight"] == found["norm.weight"] == 1.0
    assert [found[f"blocks.{k}.mlp.0.weight"] for k in (2, 1, 0)] == [0.5, 0.25, 0.125]
    assert found["embed.weight"] == found["position"] == 0.0625


def test_the_blocks_of_resnet18_are_those_of_its_stages() -> None:
    found = factors(ResNet18((3, 8, 8), 2), {"use": "layer_decay", "decay": 0.5})
    names = ["head", "body.layer4.1.conv2", "body.layer4.0.conv1", "body.layer1.0.bn1"]
    assert [found[f"{name}.weight"] for name in names] == [1.0, 0.5, 0.25, 0.5**8]
    assert found["body.conv1.weight"] == found["body.bn1.bias"] == 0.5**9


def test_the_last_of_a_sequence_is_the_head() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Linear(2, 2))
    found = factors(model, {"use": "layer_decay", "decay": 0.5})
    assert [found[f"{k}.weight"] for k in (0, 2, 3)] == [0.25, 0.5, 1.0]


def test_without_numbers_each_module_is_a_block() -> None:
    model = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("one", "two", "three")})
    found = factors(model, {"use": "layer_decay", "decay": 0.5})
    assert [found[f"{name}.weight"] for name in model] == [0.25, 0.5, 1.0]


def test_frozen_blocks_count_so_that_freezing_changes_no_other_rate() -> None:
    model = Transformer()
    free = factors(model, "layer_decay")
    freeze(model, "^blocks.1")
    frozen = factors(model, "layer_decay")
    assert frozen == {name: one for name, one in free.items() if not name.startswith("blocks.1")}


# Together


def test_layer_decay_and_no_decay_add_to_whichever_rule_places_a_parameter() -> None:
    found = groups(CNN((1, 8, 8), 2), "no_decay", {"use": "layer_decay", "decay": 0.5}, "head")
    assert found["head"]["param_names"] == ["head.weight"]
    assert found["head"]["lr_factor"] == 10.0
    bias = found["no_decay+head"]
    assert (bias["param_names"], bias["lr_factor"], bias["weight_decay"]) == (["head.bias"], 10, 0)
    last = found["no_decay+layer_decay_1"]
    assert (last["param_names"], last["lr_factor"]) == (["body.9.weight", "body.9.bias"], 0.5)


def test_factors_multiply_and_of_two_weight_decays_the_first_rule_wins() -> None:
    stem = {"name": "stem", "match": "^0", "lr_factor": 0.1, "weight_decay": 0.3}
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    after = groups(model, stem, "no_decay", {"use": "layer_decay", "decay": 0.5})
    group = after["stem+no_decay+layer_decay_1"]
    assert (group["lr_factor"], group["weight_decay"]) == (0.05, 0.3)
    before = groups(model, "no_decay", stem)
    assert before["no_decay+stem"]["weight_decay"] == 0.0


def test_a_tied_weight_is_in_the_group_that_takes_any_of_its_names_first() -> None:
    model = Transformer(tie=True)
    assert members(model, "head")["head"] == ["embed.weight"]
    embed = {"name": "embed", "match": "^embed", "lr_factor": 0.1}
    assert members(model, embed, {"use": "head", "match": "^(norm|head)"})["embed"] == [
        "embed.weight"
    ]


# What takes nothing


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ([{"name": "a", "match": "^blcks"}], r"a \(match: \^blcks\) matches nothing: Transformer "
         r"has position, embed\.weight, .*, head\.weight \(17 parameters\); did you mean blocks"),
        ([{"name": "a", "match": "head"}, "head"], "head takes head.weight, which a takes before"),
        ([{"name": "a", "match": "blocks.0.norm"}], "takes frozen parameters alone"),
    ],
)  # fmt: skip
def test_a_rule_that_takes_nothing_is_refused(plain: list[Any], said: str) -> None:
    model = Transformer()
    freeze(model, "^blocks.0")
    with pytest.raises(UserError, match=said):
        check_rules(model, rules(*plain))


def test_a_model_without_biases_and_norms_needs_no_no_decay() -> None:
    with pytest.raises(UserError, match="no_decay takes nothing: Linear has weight"):
        check_rules(nn.Linear(2, 2, bias=False), rules("no_decay"))


@pytest.mark.parametrize(
    ("match", "said"), [("^bloks", "did you mean blocks"), (".", "freezes everything")]
)
def test_a_freeze_of_nothing_or_everything_is_refused(match: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_freeze(Transformer(), match)
    check_freeze(Transformer(), "^blocks")


# Freezing


def test_a_frozen_batch_norm_keeps_its_statistics_in_training() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3), nn.BatchNorm1d(3, affine=False))
    freeze(model, r"^[02]\.")
    copied = copy.deepcopy(model)
    for one in (model, copied):
        one.eval()
        one.train()
        one(torch.randn(8, 3) + 5)
        assert [bool(bn.running_mean.any()) for bn in one] == [False, True, False]
        assert [bn.training for bn in one] == [False, True, False]


def test_a_batch_norm_of_which_a_part_trains_goes_on() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3))
    freeze(model, r"bias$")
    assert model.train()[0].training


def test_a_frozen_model_can_be_saved_whole() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))
    freeze(model, r"^0")
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert not torch.load(file, weights_only=False).train()[0].training
