"""torchvision's ResNet-18, for training from scratch and for fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from lrsearch.errors import UserError


class ResNet18(nn.Module):
    """`body` is torchvision's network without its last layer, `head` a new last layer.

    `small_images` (by default for images below 64 pixels, without pretrained weights) takes a 3×3
    stem without max-pooling. `weights` is a name of torchvision's (`IMAGENET1K_V1`) or the path of
    a file with a state dict. Images with one channel are repeated to three.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_outputs: int,
        weights: str | None = None,
        small_images: bool | None = None,
    ) -> None:
        super().__init__()
        import torchvision

        self.body = torchvision.models.resnet18(weights=None)
        if weights is not None:
            state = pretrained(weights)
            # The last layer of other classes is of no use here.
            state |= {f"fc.{name}": one for name, one in self.body.fc.state_dict().items()}
            self.body.load_state_dict(state)
        self.body.fc = nn.Identity()
        if small_images is None:
            small_images = weights is None and min(input_shape[1:]) < 64
        if small_images:
            self.body.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.body.maxpool = nn.Identity()
        self.head = nn.Linear(512, n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch N×C×H×W (C = 1 or 3) to N×n_outputs."""
        out: torch.Tensor = self.head(self.body(x.expand(-1, 3, -1, -1)))
        return out


def pretrained(weights: str) -> dict[str, torch.Tensor]:
    """A state dict by file or by torchvision's name. Raises UserError saying what to do."""
    if "/" in weights or weights.endswith((".pt", ".pth")):
        if not Path(weights).is_file():
            raise UserError(f"model.weights: there is no file {weights!r}")
        state: dict[str, torch.Tensor] = torch.load(weights, map_location="cpu", weights_only=True)
        return state
    import torchvision

    known = torchvision.models.ResNet18_Weights
    if weights not in [*known.__members__, "DEFAULT"]:
        names = ", ".join([*known.__members__, "DEFAULT"])
        raise UserError(
            f"model.weights: {weights!r} is neither a file nor one of torchvision's: {names}"
        )
    try:
        return dict(known[weights].get_state_dict(progress=False))
    except OSError as error:
        raise UserError(
            f"model.weights: {weights} could not be downloaded ({error}): fetch "
            f"{known[weights].url} by other means and give model.weights=/path/to/the/file.pth"
        ) from None
