"""torchvision's ResNet-18, for training from scratch and for fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from lrsearch.errors import UserError


class ResNet18(nn.Module):
    """ResNet-18: `body` is torchvision's network without its last layer, `head` a new linear layer.

    `small_images` replaces the stem by a 3×3 convolution without max-pooling; by default it is on
    for images below 64 pixels without pretrained weights. `weights` is one of torchvision's names
    of weights (`IMAGENET1K_V1`) or the path of a file with a state dict. Images with one channel
    are repeated to three.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_outputs: int,
        weights: str | None = None,
        small_images: bool | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        import torchvision

        if input_shape[0] not in (1, 3):
            raise UserError(f"resnet18 takes images of 1 or 3 channels, not of {input_shape[0]}")
        self.body = torchvision.models.resnet18(weights=None)
        if weights is not None:
            load_pretrained(self.body, weights)
        self.body.fc = nn.Identity()
        if small_images is None:
            small_images = weights is None and min(input_shape[1:]) < 64
        if small_images:
            self.body.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.body.maxpool = nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(512, n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The outputs, N×n_outputs, for a batch N×C×H×W (C = 1 or 3) of any real type."""
        x = x.to(self.head.weight.dtype).expand(-1, 3, -1, -1)
        out: torch.Tensor = self.head(self.dropout(self.body(x)))
        return out


def load_pretrained(network: nn.Module, weights: str) -> None:
    """Load pretrained weights into all layers of torchvision's ResNet-18 except the last.

    Raises UserError if the weights cannot be read or do not fit.
    """
    state = pretrained(weights)
    own = network.state_dict()
    # The pretrained last layer is for other classes.
    state |= {name: value for name, value in own.items() if name.startswith("fc.")}
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"model.weights: {weights} is no state dict of torchvision's resnet18: {reason}"
        ) from None


def pretrained(weights: str) -> dict[str, torch.Tensor]:
    """The state dict in a file, or of torchvision's weights of this name.

    Raises UserError if the file or the name does not exist, or the download fails.
    """
    if "/" in weights or weights.endswith((".pt", ".pth", ".safetensors")):
        return _from_file(Path(weights).expanduser())
    import torchvision

    known = torchvision.models.ResNet18_Weights
    if weights not in known.__members__:
        raise UserError(
            f"model.weights: {weights!r} is neither a file nor one of torchvision's: "
            f"{', '.join(known.__members__)}"
        )
    try:
        return dict(known[weights].get_state_dict(progress=False))
    except (OSError, RuntimeError, HTTPException) as error:
        raise UserError(
            f"model.weights: {weights} could not be downloaded ({error}): fetch "
            f"{known[weights].url} by other means and give model.weights=/path/to/the/file.pth"
        ) from None


def _from_file(file: Path) -> dict[str, torch.Tensor]:
    """The state dict in a file. Raises UserError if it is missing or holds anything else."""
    if not file.is_file():
        raise UserError(f"model.weights: there is no file {str(file)!r}")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"model.weights: {file} is no file of weights: {reason}") from None
    if not isinstance(state, dict):
        raise UserError(f"model.weights: {file} holds {type(state).__name__}, no state dict")
    return state
