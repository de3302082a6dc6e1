"""The number of samples that a model takes at a time, and how it is found (`auto`)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, TypeVar

import torch

from lrsearch.training.generators import generator_states, set_generator_states
from lrsearch.training.memory import free_unused
from lrsearch.training.out_of_memory import is_out_of_memory
from lrsearch.training.settings import EVALUATION_BATCH

T = TypeVar("T")
_log = logging.getLogger(__name__)


class MicroBatch:
    """The most samples of one forward pass, in training and in evaluation.

    With `auto`, training begins with whole batches, and both numbers are halved whenever the
    memory does not suffice. Trainings of the same model and batch size can share one object, so
    that what one has found holds for the next.
    """

    def __init__(self, wanted: int | Literal["auto"] | None = None) -> None:
        self.is_auto = wanted == "auto"
        fixed = None if isinstance(wanted, str) else wanted
        self.training = fixed
        """None is the whole batch."""
        self.evaluation = fixed or EVALUATION_BATCH

    def state_dict(self) -> dict[str, int | None]:
        """The numbers that were found."""
        return {"training": self.training, "evaluation": self.evaluation}

    def load_state_dict(self, state: dict[str, int | None]) -> None:
        """Restore numbers that were found; given ones stay."""
        if self.is_auto:
            self.training = state["training"]
            self.evaluation = state["evaluation"] or EVALUATION_BATCH

    def train(self, compute: Callable[[int], T], samples: int, model: torch.nn.Module) -> T:
        """Call `compute` for a batch of so many `samples`, with the most samples of a pass.

        Where it runs out of memory and the number is `auto`, call it again with half of them, from
        the same state: gradients are dropped, buffers and random generators set back.
        """

        def halve() -> bool:
            now = min(self.training or samples, samples)
            self.training = (now + 1) // 2
            return now > 1

        def attempt() -> T:
            return compute(min(self.training or samples, samples))

        return self._within_memory(attempt, halve, model, "training")

    def evaluate(self, compute: Callable[[int], T], samples: int, model: torch.nn.Module) -> T:
        """The same for an evaluation of `samples`."""

        def halve() -> bool:
            now = min(self.evaluation, samples)
            self.evaluation = (now + 1) // 2
            return now > 1

        return self._within_memory(lambda: compute(self.evaluation), halve, model, "evaluation")

    def _within_memory(
        self, compute: Callable[[], T], halve: Callable[[], bool], model: torch.nn.Module, what: str
    ) -> T:
        has_halved = False
        while self.is_auto:
            restore = _state(model)
            try:
                return compute()
            except ValueError as error:
                # Batch normalisation cannot train on a piece of one sample.
                if has_halved and "more than 1 value per channel" in str(error):
                    raise MemoryError from error
                raise
            except Exception as error:
                if not is_out_of_memory(error) or not halve():
                    raise
            has_halved = True
            # After the `except`: until its end, the error holds the tensors of the failed pass.
            restore()
            if next(model.parameters()).is_cuda:
                free_unused()
            _log.info("out of memory: %s goes on with micro batches of half the size", what)
        return compute()


def _state(model: torch.nn.Module) -> Callable[[], None]:
    """Copy buffers and states of generators; the returned function restores them."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    device = next(model.parameters()).device
    generators = generator_states(device)

    def restore() -> None:
        for parameter in model.parameters():
            parameter.grad = None
        for buffer, copy in buffers:
            buffer.copy_(copy)
        set_generator_states(generators, device)

    return restore
