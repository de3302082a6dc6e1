"""Inputs and targets of samples: the types that are accepted, and their conversion to tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrsearch.errors import UserError

if TYPE_CHECKING:
    import torch

_CHUNK = 1 << 24
"""Numbers that are checked at a time, which bounds the memory that a check needs."""

IGNORED = -100
"""The class of targets that do not count, in torch's cross-entropy by default."""


def as_tensor(value: Any) -> torch.Tensor:
    """Convert a tensor, array or number to a tensor on the CPU of the same type.

    Types that few functions of torch support are widened: unsigned integers of more than one byte
    to int64, floating-point numbers of one byte to float32.
    """
    import numpy
    import torch

    if isinstance(value, (numpy.ndarray, numpy.generic)):
        array = numpy.asarray(value)
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        value = torch.from_numpy(numpy.require(native, requirements=["C", "W"]))
    tensor = torch.as_tensor(value).detach().cpu()
    if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):
        return tensor.to(torch.int64)
    return tensor.float() if tensor.is_floating_point() and tensor.itemsize < 2 else tensor


def checked_tensor(value: Any) -> torch.Tensor:
    """Convert a value by `as_tensor`, after checking that it can be converted.

    Raises UserError otherwise; the message is a predicate with advice, such as "are sparse: return
    x.to_dense()", to which the caller adds the subject.
    """
    import torch

    problem = _problem(value)
    if problem is not None:
        raise UserError(problem)
    try:
        tensor = as_tensor(value)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"are no tensor, array or number: {reason}") from None
    if getattr(value, "dtype", None) in (torch.uint64, "uint64") and bool((tensor < 0).any()):
        raise UserError("are integers from 2**63 on: map them to smaller ones")
    return tensor


def _problem(value: Any) -> str | None:
    """Why a value of this type cannot be a tensor, and what to do about it; None if it can."""
    import numpy
    import torch

    dense = "where that is too large, a Dataset whose items are dense, with data.in_memory=never"
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided or value.is_nested:
            return f"are sparse or nested: return x.to_dense(), or, {dense}"
        return "are quantized: return x.dequantize()" if value.is_quantized else None
    if isinstance(value, numpy.ma.MaskedArray):
        return "are a masked array: fill what is masked, as by x.filled(0)"
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        kind = value.dtype.kind
        if kind in "biu" or value.dtype.char in "efdFD":
            return None
        if kind in "fc":
            return f"are of the type {value.dtype}: return x.astype('float64')"
        return (
            f"are of the type {value.dtype}, not numbers: encode text as numbers (token ids, "
            f"classes), bring rows of different lengths to one"
        )
    if hasattr(value, "toarray"):  # a sparse array of SciPy
        return f"are sparse: return x.toarray(), or, {dense}"
    if hasattr(value, "to_numpy"):  # of pandas or a similar package
        return f"are a {type(value).__name__}: return x.to_numpy()"
    if isinstance(value, (str, bytes)):
        return "are text: encode it as numbers (token ids, classes)"
    return None


def are_numbers(y: torch.Tensor) -> bool:
    """Whether targets are numbers to predict (floating-point or complex), not class indices."""
    return y.is_floating_point() or y.is_complex()


def is_one_hot(targets: torch.Tensor) -> bool:
    """Whether targets are of shape N×C with one 1 for each sample and 0 elsewhere."""
    if targets.dim() != 2 or targets.shape[1] < 2:
        return False
    return bool((targets.min() >= 0) & (targets.max() == 1) & (targets.sum(1) == 1).all())


def kind_of(tensor: torch.Tensor) -> str:
    """The kind of numbers in a tensor, whatever their precision: "complex numbers" and so on."""
    import torch

    if tensor.is_complex():
        return "complex numbers"
    if tensor.is_floating_point():
        return "floating-point numbers"
    return "truth values" if tensor.dtype == torch.bool else "integers"


def not_finite(tensor: torch.Tensor) -> tuple[int, int] | None:
    """The number of samples with a NaN or an infinity and the index of the first; None without."""
    import torch

    if not are_numbers(tensor):
        return None
    count, first = 0, 0
    rows = max(1, _CHUNK // max(1, tensor[0].numel()))
    for start in range(0, len(tensor), rows):
        finite = torch.isfinite(tensor[start : start + rows]).flatten(1 if tensor.dim() > 1 else 0)
        bad = ~(finite.all(dim=1) if tensor.dim() > 1 else finite)
        if not count and bool(bad.any()):
            first = start + int(bad.nonzero()[0, 0])
        count += int(bad.sum())
    return (count, first) if count else None
