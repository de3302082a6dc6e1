"""The models of the catalogue. To add one: a file here, a line in MODELS, a YAML in conf/model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lrsearch.data.spec import DataInfo
from lrsearch.targets import check_arguments, load_target

if TYPE_CHECKING:
    from torch import nn

MODELS = {
    "mlp": "lrsearch.models.mlp.MLP",
    "cnn": "lrsearch.models.cnn.CNN",
    "resnet18": "lrsearch.models.resnet18.ResNet18",
}


def model_class(name: str, own: bool) -> Any:
    """The class or function behind a name of the catalogue or a dotted path of the user's."""
    return load_target(name if own else MODELS[name], "model")


def build_model(name: str, own: bool, arguments: Mapping[str, Any], info: DataInfo) -> nn.Module:
    """A model for these data: what they determine is given where its signature asks for it.

    Raises UserError for arguments it does not take.
    """
    cls = model_class(name, own)
    check_arguments(cls, arguments, "model", offered=_offered(info))
    model: nn.Module = cls(**model_arguments(cls, arguments, info))
    return model


def model_arguments(cls: Any, arguments: Mapping[str, Any], info: DataInfo) -> dict[str, Any]:
    """All arguments: `input_shape`, `n_outputs` and `n_classes` from the data, then the given."""
    accepted = inspect.signature(cls).parameters
    known = {key: value for key, value in _offered(info).items() if key in accepted}
    return {**known, **arguments}


def _offered(info: DataInfo) -> dict[str, Any]:
    return {
        "input_shape": info.input_shape,
        "n_outputs": info.n_outputs,
        "n_classes": info.n_classes,
    }
