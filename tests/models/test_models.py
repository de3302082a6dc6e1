"""The catalogue of models: what they take, what comes out, and what is said of wrong arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import nn

from lrsearch.data.spec import DataInfo
from lrsearch.errors import UserError
from lrsearch.models import MODELS, build_model, model_arguments, model_class
from lrsearch.models.mlp import MLP
from lrsearch.models.resnet18 import ResNet18
from lrsearch.registry import ComponentConfig

IMAGES = [(1, 8, 8), (1, 28, 28), (3, 17, 23)]
SHAPES = [("mlp", (5,)), ("mlp", (2, 3))] + [(name, shape) for name in MODELS for shape in IMAGES]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Batches of two or three are done sooner without others to wait for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def info(
    shape: tuple[int, ...] = (1, 8, 8), n_classes: int | None = 10, n_targets: int = 1
) -> DataInfo:
    return DataInfo(
        name="some",
        fingerprint="",
        input_shape=shape,
        n_classes=n_classes,
        n_train=1,
        n_validation=1,
        n_test=0,
        fallback_reason=None,
        wanted="some",
        file=None,
        n_targets=n_targets,
    )


OWN = ComponentConfig.own_code(f"{__name__}.Own")


def build(name: str, data: DataInfo | None = None, **arguments: Any) -> nn.Module:
    return build_model(ComponentConfig(name), arguments, data or info())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Files with state dicts of torchvision's ResNet-18, by number of classes."""
    import torchvision

    found = {}
    for n_classes in (1000, 7):
        torch.manual_seed(n_classes)
        found[n_classes] = tmp_path_factory.mktemp("weights") / f"resnet18-{n_classes}.pth"
        state = torchvision.models.resnet18(num_classes=n_classes).state_dict()
        torch.save(state, found[n_classes])
    return found


@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_every_model_turns_a_batch_into_one_row_of_outputs_a_sample(
    name: str, shape: tuple[int, ...]
) -> None:
    model = build(name, info(shape, n_classes=7))
    out = model(torch.randn(2, *shape))
    assert out.shape == (2, 7)
    out.sum().backward()
    assert all(one.grad is not None for one in model.parameters() if one.requires_grad)


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_of_numbers_has_an_output_for_each(name: str) -> None:
    model = build(name, info((3, 16, 16), n_classes=None, n_targets=4))
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 4)


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_has_a_head_as_a_part_of_its_own(name: str) -> None:
    model = build(name, info(n_classes=6))
    assert isinstance(model.head, nn.Linear)
    assert model.head.out_features == 6
    assert {path.split(".")[0] for path, _ in model.named_parameters()} <= {"body", "head"}


def test_an_mlp_without_hidden_layers_is_linear() -> None:
    model = build("mlp", info((2, 3)), hidden=[])
    x, y = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    mixed = model(0.25 * x + 0.75 * y)
    assert torch.allclose(mixed, 0.25 * model(x) + 0.75 * model(y), atol=1e-6)
    assert sum(one.numel() for one in model.parameters()) == 6 * 10 + 10


def test_an_mlp_has_the_hidden_layers_asked_for() -> None:
    model = build("mlp", info((5,)), hidden=[8, 4], dropout=0.3)
    linear = [one for one in model.modules() if isinstance(one, nn.Linear)]
    assert [(one.in_features, one.out_features) for one in linear] == [(5, 8), (8, 4), (4, 10)]
    assert [one.p for one in model.modules() if isinstance(one, nn.Dropout)] == [0.3, 0.3]


def test_a_cnn_has_the_width_asked_for() -> None:
    model = build("cnn", width=4)
    widths = [one.out_channels for one in model.modules() if isinstance(one, nn.Conv2d)]
    assert widths == [4, 8, 16]


@pytest.mark.parametrize(
    ("shape", "arguments", "small"),
    [
        ((1, 28, 28), {}, True),
        ((3, 64, 64), {}, False),
        ((3, 64, 64), {"small_images": True}, True),
        ((3, 32, 32), {"small_images": False}, False),
    ],
)
def test_a_resnet_of_small_images_has_a_small_stem(
    shape: tuple[int, ...], arguments: dict[str, bool], small: bool
) -> None:
    model = build("resnet18", info(shape), **arguments)
    assert isinstance(model, ResNet18)
    assert model.body.conv1.kernel_size == ((3, 3) if small else (7, 7))
    assert isinstance(model.body.maxpool, nn.Identity) == small


@pytest.mark.parametrize("n_classes", [1000, 7])
def test_a_resnet_takes_a_saved_state_whatever_its_classes(
    saved: dict[int, Path], n_classes: int
) -> None:
    model = build("resnet18", info((1, 28, 28), n_classes=5), weights=str(saved[n_classes]))
    state = torch.load(saved[n_classes], weights_only=True)
    mine = {key.removeprefix("body."): one for key, one in model.state_dict().items()}
    assert all(torch.equal(mine[key], state[key]) for key in state if not key.startswith("fc."))
    assert mine["conv1.weight"].shape == (64, 3, 7, 7), "pretrained: the stem is kept"
    assert model.eval()(torch.randn(2, 1, 28, 28)).shape == (2, 5)


def test_a_resnet_sees_one_channel_as_three_equal_ones() -> None:
    model = build("resnet18", info((1, 8, 8))).eval()
    grey = torch.randn(2, 1, 8, 8)
    with torch.inference_mode():
        assert torch.equal(model(grey), model(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("path", ["no/such/file", "absent.pt", "absent.pth"])
def test_a_missing_file_of_weights_is_named(path: str) -> None:
    with pytest.raises(UserError, match=f"model.weights: there is no file '{path}'"):
        build("resnet18", weights=path)


def test_an_unknown_name_of_weights_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'IMAGENET' is neither a file nor .*IMAGENET1K_V1"):
        build("resnet18", weights="IMAGENET")


def test_weights_that_cannot_be_downloaded_are_named_with_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", down)
    with pytest.raises(UserError) as caught:
        build("resnet18", weights="IMAGENET1K_V1")
    for part in ["no network", "https://", "resnet18-", "model.weights=/path"]:
        assert part in str(caught.value)


def other_state(path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, path)


def no_state(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>")


@pytest.mark.parametrize("make", [other_state, no_state])
def test_a_file_without_the_state_of_a_resnet_is_refused(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "wrong.pth"
    make(path)
    with pytest.raises(UserError, match=r"model\.weights.*wrong\.pth"):
        build("resnet18", weights=str(path))


@pytest.mark.parametrize(
    ("name", "shape"), [("resnet18", (5,)), ("cnn", (5,)), ("resnet18", (2, 28, 28))]
)
def test_data_that_a_model_cannot_take_are_refused_when_it_is_built(
    name: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(UserError, match=name):
        build(name, info(shape))


def test_an_unknown_argument_is_answered_with_the_closest_one() -> None:
    with pytest.raises(UserError, match=r"model\.hiden: 'hiden' is unknown; did you mean hidden\?"):
        build("mlp", hiden=[3])


class Own(nn.Module):
    """A model of the user's that asks for the classes only."""

    def __init__(self, n_classes: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, n_classes)


class Free(nn.Module):
    """A model of the user's that asks for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)


def test_a_model_of_the_users_is_given_what_it_asks_for() -> None:
    model = build_model(OWN, {"width": 3}, info(n_classes=9))
    assert isinstance(model.layer, nn.Linear)
    assert (model.layer.in_features, model.layer.out_features) == (3, 9)
    assert isinstance(
        build_model(ComponentConfig.own_code(f"{__name__}.Free"), {}, info()), nn.Module
    )


def test_a_missing_argument_of_the_users_model_is_named() -> None:
    with pytest.raises(UserError, match=r"model\.width is missing: Own needs it"):
        build_model(OWN, {}, info())


def test_given_arguments_win_over_the_data() -> None:
    arguments = model_arguments(MLP, {"n_outputs": 3, "hidden": [2]}, info((5,)))
    assert arguments == {"input_shape": (5,), "n_outputs": 3, "hidden": [2]}


@pytest.mark.parametrize("name", list(MODELS))
def test_every_name_of_the_catalogue_is_a_module(name: str) -> None:
    assert issubclass(model_class(ComponentConfig(name)), nn.Module)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.bool, torch.float64])
@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet18"])
def test_models_take_inputs_of_any_real_type(name: str, kind: torch.dtype) -> None:
    model = build(name).eval()
    x = torch.randint(2, (2, 1, 8, 8))
    assert torch.equal(model(x.to(kind)), model(x.float()))


def test_complex_inputs_are_refused_by_models_of_the_catalogue() -> None:
    data = dataclasses.replace(info(), inputs_are="complex numbers")
    with pytest.raises(UserError, match=r"model=mlp takes real numbers.*view_as_real"):
        build("mlp", data)
