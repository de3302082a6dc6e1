"""Which parameters of a model Muon trains, and which AdamW.

Only the methods of torch's modules are used; exported scripts contain `muon_groups`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lrsearch.optimizers.parameter_groups import head_names, trainable, undecayed
from lrsearch.text.formatting import plural

if TYPE_CHECKING:
    from torch import nn


def muon_groups(
    model: nn.Module, groups: Sequence[dict[str, Any]], adamw_factor: float
) -> list[dict[str, Any]]:
    """Divide each group between Muon and AdamW, whose groups have `adamw_factor` times the rate.

    Muon trains the hidden matrices: two-dimensional parameters that are neither of an embedding,
    of a norm, a bias, nor of the head. The head is what the groups of the rule `head` have, and
    without that rule the last module with parameters. A tied weight is of an embedding or of the
    head if any of its names is. The first group is Muon's even if it is empty, because its rate is
    that of the schedule. A group may have an `adamw_factor` of its own.
    """
    left_out = {*undecayed(model)}
    if not any("head" in group["name"].split("+") for group in groups):
        left_out.update(head_names(model))
    embeddings: set[nn.Parameter] = set()
    for module in model.modules():
        if any(cls.__name__ in ("Embedding", "EmbeddingBag") for cls in type(module).__mro__):
            embeddings.update(module.parameters(recurse=False))
    matrices = {
        parameter
        for parameter, names in trainable(model).items()
        if parameter.ndim == 2 and not parameter.is_complex() and parameter not in embeddings
        if left_out.isdisjoint(names)
    }
    others = {"Muon": ("betas", "eps"), "AdamW": ("momentum", "nesterov", "ns_steps")}
    divided: list[dict[str, Any]] = []
    for group in groups:
        is_head = "head" in group["name"].split("+")
        members = list(zip(group["params"], group["param_names"], strict=True))
        for optimizer in ("Muon", "AdamW"):
            chosen = [
                (parameter, name)
                for parameter, name in members
                if (parameter in matrices and not is_head) == (optimizer == "Muon")
            ]
            if not chosen and (optimizer == "AdamW" or divided):
                continue
            part = {key: value for key, value in group.items() if key not in others[optimizer]}
            factor = part.pop("adamw_factor", adamw_factor)
            part["optimizer"] = optimizer
            part["params"] = [parameter for parameter, _ in chosen]
            part["param_names"] = [name for _, name in chosen]
            if optimizer == "AdamW":
                part["name"] = f"{group['name']}+adamw"
                part["lr_factor"] = group["lr_factor"] * factor
                part["lr"] = groups[0]["lr"] * part["lr_factor"]
            divided.append(part)
    return divided


def muon_notes(model: nn.Module, groups: Sequence[dict[str, Any]]) -> list[str]:
    """What the groups alone do not say: where convolutions are, and whether Muon has anything."""
    notes = []
    convolutions = [
        name
        for name, module in model.named_modules()
        if any(re.fullmatch(r"_ConvNd|(Lazy)?Conv.*", cls.__name__) for cls in type(module).__mro__)
        if any(parameter.ndim > 2 for parameter in module.parameters(recurse=False))
    ]
    if convolutions:
        few = ", ".join([*convolutions[:2], *(["..."] if len(convolutions) > 2 else [])])
        notes.append(
            f"muon: {plural(len(convolutions), 'convolution')} ({few}) trained by AdamW: Muon is "
            f"for two-dimensional weights"
        )
    if not any(group["params"] for group in groups if group["optimizer"] == "Muon"):
        notes.append(
            "muon: nothing is left for Muon: the model has no two-dimensional hidden weights that "
            "train, so AdamW trains all of it"
        )
    return notes
