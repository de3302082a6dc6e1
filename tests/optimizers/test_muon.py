"""Muon and AdamW as one optimizer: the numbers of torch's two, and all that optimizers can do."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from small_training import images
from torch import nn
from torch.optim.lr_scheduler import LinearLR

from lrsearch.errors import UserError
from lrsearch.models.mlp import MLP
from lrsearch.models.resnet18 import ResNet18
from lrsearch.optimizers.group_rules import parse_rules
from lrsearch.optimizers.muon_groups import muon_notes
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig

ARGUMENTS = {
    "adamw_factor": 0.25, "momentum": 0.9, "nesterov": True, "ns_steps": 4, "weight_decay": 0.05,
    "betas": [0.8, 0.99], "eps": 1e-7,
}  # fmt: skip
LENGTH = Length(12, 6, 6)


def recipe(rules: Sequence[Any] = (), **changes: Any) -> Recipe:
    problems: list[str] = []
    groups = parse_rules("groups", rules, problems)
    assert problems == []
    known: dict[str, Any] = {
        "optimizer": ComponentConfig("muon", ARGUMENTS),
        "scheduler": ComponentConfig("cosine"),
        "warmup": "3st",
    }
    return Recipe(lr=0.04, batch_size=8, groups=groups, **{**known, **changes})


class Language(nn.Module):
    """A small language model, with its head tied to the embedding where it is to be."""

    def __init__(self, tie: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(7, 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm = nn.LayerNorm(4)
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
        self.head = nn.Linear(4, 7, bias=False)
        if tie:
            self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.embed(x)
        h = self.norm(h + self.attention(h, h, h, need_weights=False)[0])
        logits: torch.Tensor = self.head(self.mlp(h))
        return logits


MATRICES = {
    "attention.in_proj_weight", "attention.out_proj.weight", "mlp.0.weight", "mlp.2.weight",
}  # fmt: skip


def trained_by(model: nn.Module, rules: Sequence[Any] = ()) -> dict[str, str]:
    """The optimizer of each parameter."""
    groups = recipe(rules).parameter_groups(model)
    return {name: group["optimizer"] for group in groups for name in group["param_names"]}


def by_muon(model: nn.Module, rules: Sequence[Any] = ()) -> set[str]:
    return {name for name, optimizer in trained_by(model, rules).items() if optimizer == "Muon"}


# Which is which


@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize("rules", [[], ["no_decay"], ["layer_decay"], ["head"]])
def test_muon_trains_hidden_matrices_alone(tie: bool, rules: list[str]) -> None:
    model = Language(tie)
    found = trained_by(model, rules)
    assert found.keys() == dict(model.named_parameters()).keys()
    # A tied head is found by its second name.
    assert {name for name, optimizer in found.items() if optimizer == "Muon"} == MATRICES


def test_a_head_that_is_named_is_the_head() -> None:
    rule = {"use": "head", "match": r"^mlp\.2\.", "lr_factor": 1.0}
    assert by_muon(Language(), [rule]) == (MATRICES | {"head.weight"}) - {"mlp.2.weight"}


def test_the_split_is_made_within_each_group() -> None:
    rules = ["no_decay", {"name": "body", "match": "^mlp", "lr_factor": 0.5, "adamw_factor": 0.1}]
    groups = recipe(rules).parameter_groups(Language())
    assert [(one["name"], one["optimizer"], one["lr_factor"], one["lr"]) for one in groups] == [
        ("default", "Muon", 1.0, 0.04),
        ("default+adamw", "AdamW", 0.25, 0.04 * 0.25),
        ("no_decay+adamw", "AdamW", 0.25, 0.04 * 0.25),
        ("body", "Muon", 0.5, 0.02),
        ("no_decay+body+adamw", "AdamW", 0.5 * 0.1, 0.04 * (0.5 * 0.1)),
    ]


def test_convolutions_train_by_adamw_and_this_is_said() -> None:
    model = ResNet18((3, 8, 8), 2)
    groups = recipe().parameter_groups(model)
    assert by_muon(model) == set()
    notes = muon_notes(model, groups)
    assert len(notes) == 2
    assert "20 convolutions (body.conv1, body.layer1.0.conv1, ...) trained by AdamW" in notes[0]
    assert "nothing is left for Muon" in notes[1]
    mlp = MLP((4,), 2, hidden=(3, 3))
    assert muon_notes(mlp, recipe().parameter_groups(mlp)) == []
    assert by_muon(mlp) == {"body.1.weight", "body.3.weight"}


def test_what_is_frozen_is_in_no_group() -> None:
    model = Language()
    groups = recipe(freeze=r"^mlp\.0").parameter_groups(model)
    names = {name for group in groups for name in group["param_names"]}
    assert names == {name for name, _ in model.named_parameters()} - {"mlp.0.weight", "mlp.0.bias"}


def test_the_model_is_needed() -> None:
    with pytest.raises(
        UserError, match=r"muon treats parameters .* give build_optimizer the model"
    ):
        recipe().build_optimizer(Language().parameters())


# Numbers


def batch(step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    return torch.randint(7, (8, 5), generator=generator)


def backward(model: nn.Module, step: int, half: bool = False, pieces: int = 1) -> None:
    x = batch(step)
    for piece in x.tensor_split(pieces):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model(piece)
            loss: Any = nn.functional.cross_entropy(logits.flatten(0, 1), piece.flatten())
        (loss / pieces).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)


def apart(half: bool = False, pieces: int = 1) -> dict[str, torch.Tensor]:
    """The weights that torch's two optimizers come to, each with a schedule of its own."""
    model = Language()
    parameters = dict(model.named_parameters())
    muon = torch.optim.Muon(
        [parameters[name] for name in parameters if name in MATRICES],
        lr=0.04, weight_decay=0.05, momentum=0.9, nesterov=True, ns_steps=4,
        adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    adamw = torch.optim.AdamW(
        [parameters[name] for name in parameters if name not in MATRICES],
        lr=0.04 * 0.25, weight_decay=0.05, betas=(0.8, 0.99), eps=1e-7,
    )  # fmt: skip
    # The schedule itself is tested elsewhere: here its rates are given.
    rates = recipe().preview(LENGTH).rates
    for step in range(LENGTH.steps):
        muon.param_groups[0]["lr"] = rates[step]
        adamw.param_groups[0]["lr"] = rates[step] * 0.25
        muon.zero_grad()
        adamw.zero_grad()
        backward(model, step, half, pieces)
        muon.step()  # type: ignore[no-untyped-call]
        adamw.step()
    return model.state_dict()


def as_one(
    stops: Sequence[int] = (), half: bool = False, pieces: int = 1
) -> Mapping[str, torch.Tensor]:
    """The same by one optimizer; after each of `stops` all is built anew and loaded."""
    model = Language()
    optimizer = recipe().build_optimizer(model)
    schedule = recipe().build_schedule(optimizer, LENGTH)
    for step in range(LENGTH.steps):
        if step in stops:
            file = io.BytesIO()
            parts = (model, optimizer, schedule)
            torch.save([part.state_dict() for part in parts], file)
            file.seek(0)
            model = Language()
            optimizer = recipe().build_optimizer(model)
            schedule = recipe().build_schedule(optimizer, LENGTH)
            states = torch.load(file, weights_only=True)
            for part, state in zip((model, optimizer, schedule), states, strict=True):
                part.load_state_dict(state)
        optimizer.zero_grad()
        backward(model, step, half, pieces)
        optimizer.step()
        schedule.step()
    return model.state_dict()


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("pieces", [1, 3])
def test_the_numbers_are_those_of_torchs_two(half: bool, pieces: int) -> None:
    assert same(as_one(half=half, pieces=pieces), apart(half, pieces))


def test_a_resume_changes_no_bit() -> None:
    assert same(as_one(stops=[2, 3, 8]), apart())


# As an optimizer


def stepped() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = Language()
    optimizer = recipe(["no_decay"]).build_optimizer(model)
    backward(model, 0)
    optimizer.step()
    return model, optimizer


def pickled(pair: Any) -> Any:
    return pickle.loads(pickle.dumps(pair))  # noqa: S301 - made here


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_goes_on_by_itself(copied: Any) -> None:
    pair = stepped()
    other = copied(pair)
    before = {name: one.clone() for name, one in pair[0].state_dict().items()}
    for model, optimizer in (other, pair):
        assert same(pair[0].state_dict(), before)
        for group in optimizer.param_groups:
            group["lr"] *= 0.5
        optimizer.zero_grad()
        backward(model, 1)
        optimizer.step()
    assert not same(pair[0].state_dict(), before)
    assert same(pair[0].state_dict(), other[0].state_dict())


def test_a_scheduler_of_torchs_moves_both() -> None:
    model, optimizer = stepped()
    LinearLR(optimizer, start_factor=0.0 + 1e-9, total_iters=5)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    backward(model, 1)
    optimizer.step()
    after = model.state_dict()
    assert all(torch.allclose(before[name], after[name], atol=1e-7) for name in before)


def test_a_closure_gives_the_loss_and_zero_grad_takes_all() -> None:
    model, optimizer = stepped()
    loss = torch.tensor(3.0)
    assert optimizer.step(lambda: loss) is loss  # type: ignore[arg-type, return-value]
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_scaler_of_half_precision_skips_both() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Linear(8, 8), nn.Linear(8, 3))
    optimizer = recipe().build_optimizer(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    x = images(8, 0).x
    scaler.scale(model(x * torch.inf).sum()).backward()  # type: ignore[no-untyped-call]
    scaler.step(optimizer)
    scaler.update()
    assert same(model.state_dict(), before)
    optimizer.zero_grad()
    scaler.scale(model(x).sum()).backward()  # type: ignore[no-untyped-call]
    scaler.step(optimizer)
    changed = {name for name, one in model.state_dict().items() if not one.equal(before[name])}
    assert changed == before.keys()
