"""The models. To add one: a file here, an entry in MODELS, a YAML in conf/model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrsearch.data.spec import DataInfo
from lrsearch.errors import UserError
from lrsearch.own_code import Signature, check_arguments, fresh, load_target
from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import Component, ComponentConfig, Registry

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Model(Component):
    """A model class; its parameters are listed without importing torch."""

    images: bool = False
    """Whether it takes only images, channels × height × width."""


_DROPOUT = Parameter("float", 0.0, 0.0, 1.0, help="share of values that are dropped")

MODELS = Registry(
    "model",
    [
        Model(
            "mlp",
            "lrsearch.models.mlp.MLP",
            {"hidden": Parameter("widths", (256, 128), help="of its layers"), "dropout": _DROPOUT},
            "a multi-layer perceptron; linear with hidden=[]",
        ),
        Model(
            "cnn",
            "lrsearch.models.cnn.CNN",
            {"width": Parameter("int", 32, 1, help="of the first layer"), "dropout": _DROPOUT},
            "a small convolutional network",
            images=True,
        ),
        Model(
            "resnet18",
            "lrsearch.models.resnet18.ResNet18",
            {
                "weights": Parameter("text", None, help="a name of torchvision's, or a file"),
                "small_images": Parameter("bool", None, help="by their size where it is left out"),
                "dropout": _DROPOUT,
            },
            "torchvision's ResNet-18, from scratch or pretrained",
            images=True,
        ),
    ],
    where="model",
)


def model_class(config: ComponentConfig) -> Any:
    """The class or function of a model. Raises UserError if it cannot be imported."""
    return load_target(config.target or MODELS[config.name].path, "model")


def build_model(config: ComponentConfig, arguments: Mapping[str, Any], info: DataInfo) -> nn.Module:
    """Build a model for these data, from `model_arguments` of the class of `config`.

    `arguments` are those of `config` together with the tuned ones.

    Raises UserError if the class does not take the arguments or the data, or does not return a
    torch.nn.Module.
    """
    from torch import nn

    cls = model_class(config)
    check_model(cls, config, arguments, info)
    model = cls(**fresh(model_arguments(cls, arguments, info)))
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise UserError(f"model: {config.name} must return a torch.nn.Module, not {kind}")
    return model


def check_model(
    cls: Any, config: ComponentConfig, arguments: Mapping[str, Any], info: DataInfo
) -> None:
    """Raise UserError for arguments or data that the model does not take."""
    check_arguments(cls, arguments, "model", offered=_offered(info))
    name, own = config.name, config.own
    if not own and info.inputs_are == "complex numbers":
        raise UserError(
            f"model={name} takes real numbers, and the inputs of {info.name} are complex: return "
            f"their parts, torch.view_as_real(x), or give a model of your own (model._target_)"
        )
    if not own and MODELS[name].images and len(info.input_shape) != 3:
        raise UserError(
            f"model={name} takes images (channels × height × width); a sample of {info.name} has "
            f"the shape {info.input_shape}: use model=mlp"
        )


def model_arguments(cls: Any, arguments: Mapping[str, Any], info: DataInfo) -> dict[str, Any]:
    """All arguments of a model: those that the data determine, overridden by `arguments`.

    The data determine `input_shape`, `n_outputs` and `n_classes`; those in the signature are given.
    """
    accepted = Signature.of(cls).named
    from_data = {key: value for key, value in _offered(info).items() if key in accepted}
    return {**from_data, **arguments}


def _offered(info: DataInfo) -> dict[str, Any]:
    """The arguments that the data determine, by name; none for other batches than (x, y)."""
    if not info.is_pairs:
        return {}
    return {
        "input_shape": info.input_shape,
        "n_outputs": info.n_outputs,
        "n_classes": info.n_classes,
    }
