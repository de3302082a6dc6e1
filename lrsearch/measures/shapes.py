"""Reshape outputs and targets as a loss or a metric needs them.

The functions are copied unchanged into exported scripts. They change shapes and types, never
values, and raise ValueError, naming both shapes, if outputs and targets do not fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def numbers(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and targets of one shape N×…, for a loss that compares numbers one by one."""
    if not targets.is_floating_point() and not targets.is_complex():
        targets = targets.to(outputs.dtype)
    if outputs.shape == targets.shape:
        return outputs, targets
    if alike(outputs, targets.shape):
        return outputs.reshape(targets.shape), targets
    raise ValueError(
        f"the outputs have the shape {tuple(outputs.shape)} and the targets "
        f"{tuple(targets.shape)}: they must be the same, but for axes of length one"
    )


def class_targets(
    outputs: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs N×C×… and either class indices N×… or class probabilities N×C×…, for cross-entropy.

    Floating-point targets with the shape of the outputs are probabilities.
    """
    if targets.is_floating_point() and outputs.dim() > 1 and alike(targets, outputs.shape):
        if outputs.shape[1] == 1:
            raise ValueError(
                f"the outputs have the shape {tuple(outputs.shape)}: the cross-entropy of a single "
                f"output is always 0; give one output a class, or use bce_with_logits"
            )
        return outputs, targets.reshape(outputs.shape)
    return class_indices(outputs, targets)


def class_indices(
    outputs: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs N×C×… and class indices N×… of type int64.

    Targets with the shape of the outputs are one-hot or probabilities, and their largest entry is
    the class. Floating-point targets that are whole numbers count as class indices.
    """
    if outputs.dim() == 1 and len(targets) == 1:  # a batch of one sample, squeezed by the model
        outputs = outputs[None]
    elif outputs.dim() > 2 and targets.numel() == len(outputs):
        is_flat = outputs[0].numel() == max(outputs.shape[1:])
        outputs = outputs.reshape(len(outputs), -1) if is_flat else outputs
    shape = (outputs.shape[0], *outputs.shape[2:])
    floats = targets.is_floating_point()
    if outputs.dim() > 1 and alike(targets, shape):
        if floats and not bool((targets == targets.round()).all()):
            raise ValueError("the targets must be classes, counted from 0, and are fractions")
        if outputs.shape[1] == 1 and bool((targets > 0).any()):
            raise ValueError(
                f"the outputs have the shape {tuple(outputs.shape)}, one output for several "
                f"classes: give one output a class"
            )
        return outputs, targets.long().reshape(shape)
    if outputs.dim() > 1 and alike(targets, outputs.shape):
        targets = targets.reshape(outputs.shape)
        one_hot = (targets.sum(1) == 1).all() & ((targets == 0) | (targets == 1)).all()
        if not floats and not bool(one_hot):
            raise ValueError(
                f"the targets have the shape {tuple(targets.shape)} of the outputs, but are not "
                f"one-hot; for several classes at once use bce_with_logits"
            )
        return outputs, targets.argmax(1)
    raise ValueError(
        f"the outputs have the shape {tuple(outputs.shape)} and the targets "
        f"{tuple(targets.shape)}: outputs (batch, classes) go with targets (batch,), and outputs "
        f"(batch, classes, height, width) with targets (batch, height, width)"
    )


def alike(tensor: torch.Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a tensor has this shape up to axes of length one; the first axis is the batch."""
    if tuple(tensor.shape) == tuple(shape):
        return True
    batch = tensor.shape[0] if tensor.dim() else 1
    same_batch = batch == shape[0] or tensor.numel() == 1
    return same_batch and [n for n in tensor.shape if n != 1] == [n for n in shape if n != 1]
