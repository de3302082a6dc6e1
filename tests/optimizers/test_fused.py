"""torch's fused implementations: on CUDA alone, in the record and in scripts alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lrsearch.optimizers import OPTIMIZERS, is_fused
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig

FUSED = {"sgd", "adam", "adamw", "adagrad", "muon"}


def groups_on(device: str, name: str) -> list[dict[str, Any]]:
    """The groups of an optimizer whose parameters seem to be on a device."""
    recipe = Recipe(0.1, 8, ComponentConfig(name), ComponentConfig("constant"))
    with FakeTensorMode(), torch.device(device):
        model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2))
        return recipe.build_optimizer(model).param_groups


def flags(groups: list[dict[str, Any]]) -> set[bool]:
    return {bool(group.get("fused")) for group in groups if group.get("optimizer") != "Muon"}


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_those_that_have_it_are_fused_on_cuda_alone(name: str) -> None:
    assert flags(groups_on("cuda", name)) == {name in FUSED}
    assert flags(groups_on("cpu", name)) == {False}
    assert flags(groups_on("meta", name)) == {False}


def test_parameters_on_several_devices_are_not_fused() -> None:
    recipe = Recipe(0.1, 8, ComponentConfig("adamw"), ComponentConfig("constant"))
    with FakeTensorMode():
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="cuda"))
        assert flags(recipe.build_optimizer(model).param_groups) == {False}


def test_the_record_says_the_same() -> None:
    for name in OPTIMIZERS:
        assert is_fused(ComponentConfig(name), "cuda") == (name in FUSED)
        assert not is_fused(ComponentConfig(name), "cpu")
    # What the user names is called with what the user gives.
    assert not is_fused(ComponentConfig.own_code("torch.optim.AdamW", name="adamw"), "cuda")


def test_older_versions_of_torch_have_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.9.0+cu128")
    assert is_fused(ComponentConfig("sgd"), "cuda")
    assert not is_fused(ComponentConfig("adagrad"), "cuda")


def test_numbers_of_the_cpu_stay_as_they_are() -> None:
    models = [nn.Linear(3, 2) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    recipe = Recipe(0.1, 8, ComponentConfig("adamw"), ComponentConfig("constant"))
    optimizers = [
        recipe.build_optimizer(models[0]),
        torch.optim.AdamW(models[1].parameters(), lr=0.1),
    ]
    for _ in range(3):
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            loss: Any = model(torch.ones(4, 3)).square().sum()
            loss.backward()
            optimizer.step()
    assert torch.equal(models[0].weight, models[1].weight)
