"""Build losses and metrics of a configuration as functions of (outputs, targets)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lrsearch.errors import UserError
from lrsearch.measures import WEIGHTS, Measure, functions, shapes
from lrsearch.own_code import check_arguments, load_target, own_callable
from lrsearch.registry import ComponentConfig

if TYPE_CHECKING:
    import torch

    MeasureFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    Fit = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def build(target: ComponentConfig, registry: Mapping[str, Measure], what: str) -> MeasureFunction:
    """The loss or metric as a function of (outputs, targets).

    One of the catalogue reshapes outputs and targets as it needs them; the user's own gets them
    unchanged. A class of the user's, such as `torch.nn.MSELoss`, is instantiated with its
    arguments. Raises UserError, beginning with the configuration key `what`, if it cannot be
    imported or does not take its arguments.
    """
    if target.target is not None:
        own: MeasureFunction = own_callable(target.target, target.arguments, what, positional=2)
        return own
    function = load_target(registry[target.name].path, what)
    # lrsearch's names of weights are its own; the registry has checked them.
    arguments = [name for name in target.arguments if name not in WEIGHTS]
    check_arguments(function, arguments, what, positional=2)
    return Fitted(function, registry[target.name], target.arguments, what)


def fit_of(measure: Measure) -> Fit:
    """The function that reshapes outputs and targets for a measure of the catalogue."""
    fit: Fit = getattr(shapes, measure.fit)
    return fit


class Fitted:
    """A measure of the catalogue, for outputs and targets of every shape that fits."""

    def __init__(
        self,
        function: Callable[..., Any],
        measure: Measure,
        arguments: Mapping[str, Any],
        what: str,
    ) -> None:
        """Wrap `function`; `what` is its key in the configuration, for messages."""
        self._function, self._fit = function, fit_of(measure)
        self._divisor = measure.divisor
        self._what = what
        self._arguments = {key: value for key, value in arguments.items() if key not in WEIGHTS}
        self._given = {key: arguments[key] for key in WEIGHTS if arguments.get(key) is not None}
        self._weights: dict[str, torch.Tensor] = {}

    def __call__(
        self, outputs: torch.Tensor, targets: torch.Tensor, **options: Any
    ) -> torch.Tensor:
        """Compute the mean over a batch, or what `options` of the function make of it.

        Raises UserError, naming both shapes, if they differ.
        """
        try:
            outputs, targets = self._fit(outputs, targets)
        except ValueError as error:
            raise UserError(f"{self._what}: {error}") from None
        arguments = {**self._arguments, **(self._weights_for(outputs) if self._given else {})}
        measured: torch.Tensor = self._function(outputs, targets, **arguments, **options)
        return measured

    def part(
        self, outputs: torch.Tensor, targets: torch.Tensor, whole: torch.Tensor
    ) -> torch.Tensor:
        """What some of the targets of a `whole` batch add to its mean. Raises as a call does."""
        if self._divisor is None or whole.is_floating_point():
            return self(outputs, targets) * (len(targets) / len(whole))
        divisor: Callable[..., torch.Tensor] = getattr(functions, self._divisor)
        known = ("ignore_index",)
        arguments = {key: self._arguments[key] for key in known if key in self._arguments}
        for name in self._given:
            arguments[WEIGHTS[name][0]] = self._on_device(name, whole.device)
        if self._given:  # the weights of a part may all be 0
            total = self(outputs, targets, reduction="sum")
            return total / divisor(whole, **arguments).to(total.dtype)
        share = divisor(targets, **arguments) / divisor(whole, **arguments)
        mean = self(outputs, targets)
        # The mean of a part in which nothing counts is NaN; its gradients are zeros.
        return (mean * share.to(mean.dtype)).where(share > 0, 0.0)

    def _weights_for(self, outputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """The weights as arguments of torch's function, on the device of the outputs."""
        tensors = {}
        for name in self._given:
            argument, fit = WEIGHTS[name]
            weights = self._on_device(name, outputs.device)
            tensors[argument] = getattr(functions, fit)(weights, outputs)
        return tensors

    def _on_device(self, name: str, device: torch.device) -> torch.Tensor:
        """Weights as a tensor, kept there: copying them at each step would wait for the device."""
        import torch

        if name not in self._weights or self._weights[name].device != device:
            self._weights[name] = torch.tensor(self._given[name], dtype=torch.float32).to(device)
        return self._weights[name]
