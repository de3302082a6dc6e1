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
    return Fitted(function, fit_of(registry[target.name]), target.arguments, what)


def fit_of(measure: Measure) -> Fit:
    """The function that reshapes outputs and targets for a measure of the catalogue."""
    fit: Fit = getattr(shapes, measure.fit)
    return fit


class Fitted:
    """A measure of the catalogue, for outputs and targets of every shape that fits."""

    def __init__(
        self, function: Callable[..., Any], fit: Fit, arguments: Mapping[str, Any], what: str
    ) -> None:
        """Wrap `function`; `what` is its key in the configuration, for messages."""
        self._function, self._fit = function, fit
        self._what = what
        self._arguments = {key: value for key, value in arguments.items() if key not in WEIGHTS}
        self._given = {key: arguments[key] for key in WEIGHTS if arguments.get(key) is not None}
        self._weights: dict[str, torch.Tensor] = {}

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Compute the mean over a batch. Raises UserError, naming both shapes, if they differ."""
        try:
            outputs, targets = self._fit(outputs, targets)
        except ValueError as error:
            raise UserError(f"{self._what}: {error}") from None
        arguments = {**self._arguments, **(self._weights_for(outputs) if self._given else {})}
        measured: torch.Tensor = self._function(outputs, targets, **arguments)
        return measured

    def _weights_for(self, outputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """The weights as arguments of torch's function, on the device of the outputs."""
        import torch

        tensors = {}
        for name, values in self._given.items():
            # Kept on the device: copying them at each step would wait for the device.
            if name not in self._weights or self._weights[name].device != outputs.device:
                numbers = torch.tensor(values, dtype=torch.float32)
                self._weights[name] = numbers.to(outputs.device)
            argument, fit = WEIGHTS[name]
            tensors[argument] = getattr(functions, fit)(self._weights[name], outputs)
        return tensors
