"""`train.micro_batch: auto` finds how many samples fit, and changes nothing but rounding."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_training import same_weights, small_task, timeless
from torch import nn

from lrsearch.training.loop import OutOfMemory, Training
from lrsearch.training.micro_batch import MicroBatch
from lrsearch.training.settings import TrainSettings

AUTO = TrainSettings(micro_batch="auto")


class Small(nn.Module):
    """Runs out of memory, in the middle of its work, above a number of samples."""

    def __init__(self, model: nn.Module, fits: int, error: Exception | None = None) -> None:
        super().__init__()
        self.model, self.fits = model, fits
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        self.sizes: list[int] = []

    def forward(self, x: torch.Tensor) -> Any:
        outputs = self.model(x)  # draws random numbers and changes the statistics first
        if len(x) > self.fits:
            raise self.error
        self.sizes.append(len(x))
        return outputs


def trained(
    fits: int = 10**6, error: Exception | None = None, **changes: Any
) -> tuple[list[str], dict[str, torch.Tensor], list[int]]:
    """The evaluations, the weights, and the sizes of all forward passes that fitted."""
    task = small_task(**changes)
    task.model = Small(task.model, fits, error)
    training = Training(task)
    return timeless(list(training.evaluations())), training.weights, task.model.sizes


def test_where_all_fits_it_is_the_whole_batch() -> None:
    """As on the CPU: to the last bit the training without micro batches."""
    plain, auto = trained(), trained(settings=AUTO)
    assert auto[0] == plain[0]
    assert same_weights(auto[1], plain[1])
    assert auto[2] == plain[2]


@pytest.mark.parametrize(
    ("fits", "found", "amp"), [(15, 8, "none"), (8, 8, "fp16"), (3, 2, "none")]
)
def test_what_is_found_trains_as_if_it_had_been_given(fits: int, found: int, amp: Any) -> None:
    """The failed passes leave no trace: not in gradients, statistics or random generators."""
    settings = TrainSettings(micro_batch="auto", amp=amp)
    auto = trained(fits, settings=settings)
    fixed = trained(settings=dataclasses.replace(settings, micro_batch=found))
    assert same_weights(auto[1], fixed[1])
    assert max(auto[2]) <= fits


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        MemoryError(),
    ],
    ids=["CUDA", "CPU", "Python"],
)
def test_each_kind_of_error_is_known(error: Exception) -> None:
    assert max(trained(8, error, settings=AUTO)[2]) == 8


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="a shape"):
        trained(8, RuntimeError("a shape"), settings=AUTO)


def test_where_nothing_fits_the_trial_is_out_of_memory() -> None:
    task = small_task(settings=AUTO)
    task.model = Small(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), 0)
    with pytest.raises(OutOfMemory, match="smallest pieces"):
        list(Training(task).evaluations())
    with pytest.raises(OutOfMemory):  # batch normalisation refuses pieces of one sample
        trained(1, settings=AUTO)


def test_without_auto_nothing_is_halved() -> None:
    with pytest.raises(OutOfMemory, match=r"train\.micro_batch=auto"):
        trained(8)
    with pytest.raises(OutOfMemory, match=r"train\.micro_batch=auto"):
        trained(8, settings=TrainSettings(micro_batch=9))


def test_what_one_training_has_found_holds_for_the_next() -> None:
    known = MicroBatch("auto")
    for expected in (None, 4):
        assert known.training == expected
        task = small_task(settings=AUTO)
        task.model, task.micro_batch = Small(task.model, 5), known
        list(Training(task).evaluations())
    assert (known.training, known.evaluation) == (4, 5)


def test_what_was_found_is_saved_and_gone_on_with() -> None:
    """On a device with more memory, too: so the numbers are the same."""
    task = small_task(settings=AUTO)
    task.model = Small(task.model, 8)
    first = Training(task)
    evaluations = first.evaluations()
    next(evaluations)
    state = copy.deepcopy(first.state_dict())
    expected = timeless(list(evaluations))
    roomy = small_task(settings=AUTO)
    roomy.model = Small(roomy.model, 10**6)
    second = Training(roomy)
    second.load_state_dict(state)
    assert timeless(list(second.evaluations())) == expected
    assert same_weights(second.weights, first.weights)


@given(samples=st.integers(1, 300), fits=st.integers(1, 300))
def test_the_number_found_fits_and_twice_as_many_would_not(samples: int, fits: int) -> None:
    found = MicroBatch("auto")

    def compute(size: int) -> int:
        if size > fits:
            raise MemoryError
        return size

    size = found.train(compute, samples, nn.Linear(1, 1))
    assert size <= min(samples, fits)
    assert size == samples or 2 * size > fits
