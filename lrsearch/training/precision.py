"""The precision in which a model computes, and the conversion of inputs and targets to it."""

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
    """Convert floating-point and complex numbers to a precision; leave integers and booleans."""
    if x.is_complex():
        return x.to(precision.to_complex())
    return x.to(precision) if x.is_floating_point() else x


@contextlib.contextmanager
def explained(x: torch.Tensor) -> Iterator[None]:
    """Add a note to errors of types in this block if the inputs `x` are not floating-point."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        is_about_types = any(word in str(error) for word in ("type", "not implemented for"))
        if is_about_types and not x.is_floating_point():
            error.add_note(
                f"the inputs are {x.dtype}, as your data function returns them; if the model "
                f"needs floating-point numbers, call x.float() there, or in the model's forward"
            )
        raise
