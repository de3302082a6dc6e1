"""Muon and AdamW as one optimizer.

Exported scripts contain the class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class MuonWithAdamW(torch.optim.Optimizer):
    """torch's Muon for the groups whose `optimizer` is "Muon", torch's AdamW for the others.

    Muon orthogonalises the updates of two-dimensional weights (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/). They are scaled such that their root mean square
    is AdamW's (Liu et al. 2025, arXiv 2502.16982), so that both can have one rate and one weight
    decay. `momentum`, `nesterov` and `ns_steps` (Newton-Schulz iterations) are Muon's; `betas`,
    `eps` and `fused` are AdamW's.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        weight_decay: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        fused: bool | None = None,
    ) -> None:
        self._muon = torch.optim.Muon(
            [{"params": []}],
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            ns_steps=ns_steps,
            adjust_lr_fn="match_rms_adamw",
        )
        self._adamw = torch.optim.AdamW(
            [{"params": []}],
            lr=lr,
            betas=(betas[0], betas[1]),
            eps=eps,
            weight_decay=weight_decay,
            fused=fused,
        )
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, with the defaults of the optimizer that its `optimizer` names."""
        inner = self._muon if param_group["optimizer"] == "Muon" else self._adamw
        super().add_param_group({**inner.defaults, **param_group})
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step with both optimizers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()  # type: ignore[no-untyped-call]
        self._adamw.step()
        return loss

    def _share(self) -> None:
        """Let both optimizers work on the groups and the state of this one: the same objects."""
        for inner, is_muon in ((self._muon, True), (self._adamw, False)):
            inner.state = self.state
            inner.param_groups = [
                group for group in self.param_groups if (group["optimizer"] == "Muon") == is_muon
            ]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_muon": self._muon, "_adamw": self._adamw}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a loaded or copied state, whose groups are new objects."""
        super().__setstate__(state)
        self._share()
