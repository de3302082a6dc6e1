"""The precision in which a model computes, and its inputs and targets in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


def precision_of(model: torch.nn.Module) -> torch.dtype:
    """The type of the model's first floating-point or complex parameter, as a real type."""
    for parameter in model.parameters():
        if parameter.is_floating_point() or parameter.is_complex():
            return parameter.dtype.to_real()
    return torch.get_default_dtype()


def in_precision(x: torch.Tensor, precision: torch.dtype) -> torch.Tensor:
    """Real and complex numbers in a precision; integers and truth values as they are."""
    if x.is_complex():
        return x.to(precision.to_complex())
    return x.to(precision) if x.is_floating_point() else x


@contextlib.contextmanager
def explained(x: torch.Tensor) -> Iterator[None]:
    """Say what may be meant where a model fails of inputs that are no floating-point numbers."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        of_types = any(word in str(error) for word in ("type", "not implemented for"))
        if of_types and not x.is_floating_point():
            error.add_note(
                f"the inputs are {x.dtype}, as your data function returns them; a model that "
                f"computes with them needs x.float() there, or in its forward"
            )
        raise
