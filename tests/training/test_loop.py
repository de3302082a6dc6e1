"""The loop: what an evaluation says, when a training ends early, and that it repeats itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from torch import nn

from lrsearch.data.parts import Parts, StreamedPart, TensorPart
from lrsearch.evaluation import Evaluation
from lrsearch.measures.functions import accuracy, top5_accuracy
from lrsearch.optimizers.group_rules import GroupRule
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.training.batches import augmented, order, training_batches
from lrsearch.training.loop import Diverged, OutOfMemory, Stopped, Task, train
from lrsearch.training.settings import TrainSettings

CPU = torch.device("cpu")


def data(n: int = 96, seed: int = 0) -> TensorPart:
    """Three classes that a linear model can tell apart."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator)
    return TensorPart(x, x[:, :3].argmax(1))


def task(**changes: Any) -> Task:
    torch.manual_seed(0)
    batch_size = changes.pop("batch_size", 16)
    scheduler = changes.pop("scheduler", ComponentConfig("constant"))
    more = {
        name: changes.pop(name)
        for name in ("warmup", "grad_clip", "groups", "freeze", "optimizer", "lr")
        if name in changes
    }
    recipe = Recipe(
        **{
            "lr": 0.1,
            "batch_size": batch_size,
            "optimizer": ComponentConfig("sgd"),
            "scheduler": scheduler,
            **more,
        }
    )
    known: dict[str, Any] = {
        "model": nn.Linear(4, 3),
        "parts": Parts(data(), data(40, seed=1), None),
        "recipe": recipe,
        "settings": TrainSettings(epochs=3),
        "length": Length(steps=18, steps_per_epoch=6, steps_per_evaluation=6),
        "loss": nn.functional.cross_entropy,
        "metrics": {"accuracy": accuracy},
        "seed": 7,
        "device": CPU,
    }
    return Task(**(known | changes))


def numbers(evaluations: list[Evaluation]) -> list[Any]:
    return [(e.step, dict(e.values), e.lr_start, e.lr_end, e.grad_norm) for e in evaluations]


# Evaluations


def test_an_evaluation_each_epoch_says_where_training_is() -> None:
    found = list(train(task()))
    assert [(e.index, e.epoch, e.step) for e in found] == [(1, 1, 6), (2, 2, 12), (3, 3, 18)]
    assert set(found[0].values) == {"train_loss", "val_loss", "val_accuracy"}
    assert found[-1].values["val_loss"] < found[0].values["val_loss"]
    assert all(e.seconds > 0 for e in found)


def test_evaluations_by_steps_include_the_last_step() -> None:
    length = Length(steps=14, steps_per_epoch=6, steps_per_evaluation=4)
    assert [e.step for e in train(task(length=length))] == [4, 8, 12, 14]
    assert length.evaluations == 4


def test_the_train_loss_is_the_mean_since_the_last_evaluation() -> None:
    losses: list[float] = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        value = nn.functional.cross_entropy(outputs, targets)
        if torch.is_grad_enabled():
            losses.append(value.item())
        return value

    first, second = list(train(task(loss=loss)))[:2]
    assert first.values["train_loss"] == pytest.approx(sum(losses[:6]) / 6)
    assert second.values["train_loss"] == pytest.approx(sum(losses[6:12]) / 6)


def test_validation_weighs_samples_equally_and_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Dropout(0.9), nn.Linear(4, 3))
    one = task(model=model, settings=TrainSettings(micro_batch=7))
    evaluation = next(train(one))
    model.eval()
    part = one.parts.validation
    assert isinstance(part, TensorPart)
    expected = nn.functional.cross_entropy(model(part.x), part.y)
    assert evaluation.values["val_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_rates_are_those_of_the_optimizer_before_the_first_and_after_the_last_step() -> None:
    found = list(train(task(scheduler=ComponentConfig("linear"))))
    assert [e.lr_start[0] for e in found] == pytest.approx([0.1, 0.1 * 12 / 18, 0.1 * 6 / 18])
    assert [e.lr_end[0] for e in found] == pytest.approx([0.1 * 12 / 18, 0.1 * 6 / 18, 0.0])


def test_a_plateau_cuts_after_an_evaluation_and_the_next_one_starts_lower() -> None:
    part = ComponentConfig("plateau", {"patience": "1ep", "factor": 0.5, "mode": "max"})
    found = list(train(task(scheduler=part, lr=0.01)))  # a falling loss is bad in mode max
    assert [e.lr_end[0] for e in found] == [0.01, 0.01, 0.01]
    length = Length(steps=30, steps_per_epoch=6, steps_per_evaluation=6)
    found = list(train(task(scheduler=part, lr=0.01, length=length)))
    assert (found[2].lr_end[0], found[3].lr_start[0]) == (0.01, 0.005)


def test_groups_have_rates_of_their_own() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(self.head(self.body(x)))

    rule = GroupRule("head", "head", None, {"lr_factor": 5.0})
    found = list(train(task(model=Net(), groups=(rule,), scheduler=ComponentConfig("cosine"))))
    assert found[0].groups == ("default", "head")
    assert found[0].lr_start == pytest.approx((0.1, 0.5))
    assert found[1].lr_end[1] == pytest.approx(5 * found[1].lr_end[0])


def test_clipping_limits_the_norm_and_counts_the_steps_it_touched() -> None:
    free = list(train(task()))
    assert free[0].clipped is None
    norm = free[0].grad_norm
    assert norm is not None
    assert norm > 0
    tight = list(train(task(grad_clip=1e-4)))
    assert tight[0].clipped == 1.0
    loose = list(train(task(grad_clip=1e4)))
    assert loose[0].clipped == 0.0
    assert [dict(e.values) for e in loose] == [dict(e.values) for e in free]


# Repeating


def test_the_same_seed_gives_the_same_numbers_to_the_last_bit() -> None:
    assert numbers(list(train(task()))) == numbers(list(train(task())))
    assert numbers(list(train(task()))) != numbers(list(train(task(seed=8))))


def test_the_order_of_an_epoch_is_a_function_of_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    first = order(50, seed=3, epoch=2)
    torch.manual_seed(2)
    assert torch.equal(first, order(50, seed=3, epoch=2))
    assert not torch.equal(first, order(50, seed=3, epoch=1))
    assert not torch.equal(first, order(50, seed=4, epoch=2))
    assert sorted(first.tolist()) == list(range(50))


def test_an_epoch_has_whole_batches_and_no_sample_twice() -> None:
    part = TensorPart(torch.arange(50.0)[:, None], torch.arange(50))
    batches = list(training_batches(part, 16, 0, 0, CPU))
    assert [len(x) for x, _ in batches] == [16, 16, 16]
    seen = torch.cat([y for _, y in batches])
    assert len(set(seen.tolist())) == 48
    assert all(torch.equal(x[:, 0].long(), y) for x, y in batches)


def test_streamed_data_train_like_tensors() -> None:
    part = data(48)
    streamed = StreamedPart(torch.utils.data.TensorDataset(part.x, part.y))
    length = Length(steps=3, steps_per_epoch=3, steps_per_evaluation=3)
    in_memory = list(train(task(parts=Parts(part, part, None), length=length)))
    found = list(train(task(parts=Parts(streamed, streamed, None), length=length)))
    assert numbers(found) == numbers(in_memory)


def test_pieces_of_a_batch_add_up_to_the_batch() -> None:
    whole = list(train(task()))
    pieces = list(train(task(settings=TrainSettings(micro_batch=5))))
    for one, other in zip(whole, pieces, strict=True):
        assert dict(one.values) == pytest.approx(dict(other.values), rel=1e-5)


@limits(deadline=None, max_examples=25)
@given(batch_size=st.integers(1, 48), micro_batch=st.integers(1, 48))
def test_pieces_are_even_and_none_is_larger_than_asked(batch_size: int, micro_batch: int) -> None:
    sizes: list[int] = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            sizes.append(len(outputs))
        return nn.functional.cross_entropy(outputs, targets)

    one_step = Length(steps=1, steps_per_epoch=1, steps_per_evaluation=1)
    given_settings = TrainSettings(micro_batch=micro_batch)
    list(train(task(batch_size=batch_size, settings=given_settings, loss=loss, length=one_step)))
    assert sum(sizes) == batch_size
    assert max(sizes) <= micro_batch
    assert max(sizes) - min(sizes) <= 1


def test_a_remainder_of_one_sample_does_not_break_batch_normalisation() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    assert list(train(task(model=model, batch_size=9, settings=TrainSettings(micro_batch=4))))


# Ending early


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e6])
def test_a_loss_that_blows_up_ends_training_in_mid_epoch_with_step_and_rate(bad: float) -> None:
    calls = 0

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        value = nn.functional.cross_entropy(outputs, targets)
        return value * bad if calls >= 31 else value

    length = Length(steps=1000, steps_per_epoch=500, steps_per_evaluation=500)
    with pytest.raises(Diverged) as ended:
        list(train(task(loss=loss, length=length, scheduler=ComponentConfig("linear"))))
    assert ended.value.step == 31
    assert ended.value.lr == pytest.approx(0.1 * (1000 - 30) / 1000)
    assert calls <= 60  # not the whole epoch


def test_a_rate_far_too_high_diverges_by_itself() -> None:
    part = TensorPart(torch.randn(96, 4), torch.randn(96, 3))
    one = task(lr=50.0, loss=nn.functional.mse_loss, metrics={}, parts=Parts(part, part, None))
    with pytest.raises(Diverged, match="diverged at step"):
        list(train(one))


def test_a_validation_loss_that_is_not_finite_is_a_divergence() -> None:
    part = data(40, seed=1)
    broken = TensorPart(part.x * float("nan"), part.y)
    with pytest.raises(Diverged) as ended:
        list(train(task(parts=Parts(data(), broken, None))))
    assert ended.value.step == 6


def test_training_stops_after_the_step_when_asked() -> None:
    length = Length(steps=10_000, steps_per_epoch=10_000, steps_per_evaluation=10_000)
    with pytest.raises(Stopped, match=r"step 1$"):
        list(train(task(length=length, should_stop=lambda: True)))


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(),
     RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)  # fmt: skip
def test_running_out_of_memory_is_told_apart_from_a_bug(error: Exception) -> None:
    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise error

    with pytest.raises(OutOfMemory, match=r"train\.micro_batch") as ended:
        list(train(task(loss=loss)))
    assert ended.value.step == 1
    assert str(error) in ended.value.said


def test_a_bug_is_raised_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        list(train(task(model=nn.Linear(5, 3))))


# Precision


def test_half_precision_trains() -> None:
    found = list(train(task(settings=TrainSettings(amp="bf16"))))
    assert found[-1].values["val_loss"] < found[0].values["val_loss"]


def test_steps_that_the_scaler_skips_do_not_advance_the_schedule() -> None:
    class Exploding(nn.Linear):
        """Its gradient overflows in the first two steps."""

        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = super().forward(x)
            if self.training:
                self.calls += 1
                if self.calls <= 2:
                    out.register_hook(lambda gradient: gradient * float("inf"))
            return out

    one = task(
        model=Exploding(4, 3),
        settings=TrainSettings(amp="fp16"),
        scheduler=ComponentConfig("linear"),
    )
    first = next(train(one))
    assert first.step == 6
    assert first.lr_end[0] == pytest.approx(0.1 * (18 - 4) / 18)


# Augmentation and metrics


def test_crops_and_flips_move_pixels_and_invent_none() -> None:
    x = torch.arange(1.0, 2 * 3 * 6 * 6 + 1).reshape(2, 3, 6, 6)
    generator = torch.Generator().manual_seed(0)
    out = augmented(x, generator, crop=2, flip=True)
    assert out.shape == x.shape
    assert not torch.equal(out, x)
    for sample, original in zip(out, x, strict=True):
        assert set(sample.unique().tolist()) <= {0.0, *original.unique().tolist()}


def test_flips_alone_mirror_about_half_of_the_images() -> None:
    x = torch.rand(200, 1, 4, 4)
    out = augmented(x, torch.Generator().manual_seed(0), crop=0, flip=True)
    same = [torch.equal(a, b) for a, b in zip(out, x, strict=True)]
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(out, x, strict=True)]
    assert all(a or b for a, b in zip(same, mirrored, strict=True))
    assert 70 < sum(same) < 130


def test_augmentation_repeats_itself_for_the_same_seed_and_epoch() -> None:
    part = TensorPart(torch.rand(32, 1, 8, 8), torch.zeros(32).long())

    def epoch(number: int) -> torch.Tensor:
        return torch.cat([x for x, _ in training_batches(part, 8, 1, number, CPU, 2, True)])

    assert torch.equal(epoch(0), epoch(0))
    assert not torch.equal(epoch(0), epoch(1))


def test_accuracies() -> None:
    outputs = torch.eye(6)
    assert float(accuracy(outputs, torch.arange(6))) == 1.0
    assert float(accuracy(outputs, torch.tensor([0, 0, 0, 3, 0, 5]))) == pytest.approx(0.5)
    ranked = torch.arange(6.0).repeat(2, 1)
    assert float(top5_accuracy(ranked, torch.tensor([0, 1]))) == 0.5


def test_compile_gives_the_same_training(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []

    def compiled(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
        modes.append(mode)
        return function

    monkeypatch.setattr(torch, "compile", compiled)
    one = task(settings=dataclasses.replace(TrainSettings(), compile="max-autotune"))
    assert numbers(list(train(one))) == numbers(list(train(task())))
    assert modes == ["max-autotune"]


def test_each_batch_of_an_evaluation_is_progress() -> None:
    made: list[int] = []
    settings = TrainSettings(epochs=3, micro_batch=16)  # 40 samples of validation: 3 batches
    list(train(task(settings=settings, progress=lambda: made.append(1))))
    assert len(made) == 3 * 3
