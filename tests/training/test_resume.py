"""A training that was left at any step and gone on with elsewhere ends with the same numbers."""

from __future__ import annotations

import dataclasses
import functools
import io
import random
from typing import Any

import numpy
import own_steps
import pytest
import torch
from small_training import LENGTH, STEPS, images, same_weights, small_task, timeless
from torch.utils.data import Dataset, TensorDataset

from lrsearch.data.nesting import NestedPart
from lrsearch.data.parts import Parts, StreamedPart
from lrsearch.data.spec import LoaderSettings
from lrsearch.evaluation import Evaluation
from lrsearch.parameters.durations import Length
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.seeds import seed_everything
from lrsearch.training.loop import Diverged, Stopped, Training
from lrsearch.training.settings import Averaging, EarlyStopping, TrainSettings

Weights = dict[str, torch.Tensor]


def straight(**changes: Any) -> tuple[list[Evaluation], Weights]:
    """The evaluations and the final weights of a training that nobody disturbs."""
    training = Training(small_task(**changes))
    return list(training.evaluations()), training.weights


def stored(training: Training) -> dict[str, Any]:
    """The state after a way through a file."""
    file = io.BytesIO()
    torch.save(training.state_dict(), file)
    file.seek(0)
    state: dict[str, Any] = torch.load(file, weights_only=True)
    return state


def broken(steps: list[int], **changes: Any) -> tuple[list[Evaluation], Weights]:
    """The same of one that is stopped after each of `steps`, each time gone on with anew."""
    found: list[Evaluation] = []
    state: dict[str, Any] | None = None
    for stop_at in [*steps, None]:
        training = Training(small_task(**changes))
        if state is not None:
            _disturb()
            training.load_state_dict(state)
        training.task.should_stop = lambda t=training, at=stop_at: t.step == at
        try:
            found += training.evaluations()
        except Stopped:
            state = stored(training)
    return found, training.weights


def _disturb() -> None:
    """Leaves all global generators elsewhere."""
    random.random(), numpy.random.normal(), torch.rand(3)


def assert_same(
    one: tuple[list[Evaluation], Weights], other: tuple[list[Evaluation], Weights]
) -> None:
    assert timeless(one[0]) == timeless(other[0])
    assert same_weights(one[1], other[1])


def random_steps(*what: object) -> list[int]:
    """Some steps to stop after, others for each case, the same in each run of the tests."""
    return sorted(random.Random(repr(what)).sample(range(1, STEPS), 4))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("warmup", [0, "7st"])
@pytest.mark.parametrize("scheduler", list(SCHEDULERS))
def test_every_scheduler_goes_on_exactly(scheduler: str, warmup: Any, optimizer: str) -> None:
    case: dict[str, Any] = {"scheduler": scheduler, "warmup": warmup, "optimizer": optimizer}
    assert_same(broken(random_steps(case), **case), straight(**case))


@pytest.mark.parametrize("warmup", [0, "7st"])
@pytest.mark.parametrize(
    "scheduler",
    [
        ComponentConfig("mine", {"power": 2.0}, "own_schedules.power"),
        ComponentConfig("mine", {"every": "5st"}, "own_schedules.Halving", ("every",)),
        ComponentConfig("mine", {}, "own_schedules.Impatient"),
    ],
    ids=lambda one: one.target,
)
def test_a_scheduler_of_the_users_own_goes_on_exactly(
    scheduler: ComponentConfig, warmup: Any
) -> None:
    case: dict[str, Any] = {"scheduler": scheduler, "warmup": warmup}
    assert_same(broken(random_steps(scheduler.target, warmup), **case), straight(**case))


@pytest.mark.parametrize("settings", [TrainSettings(), TrainSettings(amp="bf16", micro_batch=6)])
@pytest.mark.parametrize("name", ["AdamWScheduleFree", "SGDScheduleFree"])
def test_an_optimizer_with_modes_goes_on_exactly(name: str, settings: TrainSettings) -> None:
    case: dict[str, Any] = {
        "optimizer": ComponentConfig.own_code(f"schedulefree.{name}", {"weight_decay": 0.1}),
        "scheduler": "constant",
        "warmup": "5st",
        "grad_clip": 0.5,
        "settings": settings,
    }
    at_evaluations = [LENGTH.steps_per_evaluation, 3 * LENGTH.steps_per_evaluation]
    assert_same(broken(random_steps(case), **case), straight(**case))
    assert_same(broken(at_evaluations, **case), straight(**case))


def test_any_step_will_do() -> None:
    assert_same(broken(list(range(1, STEPS))), straight())


@pytest.mark.parametrize(
    "case",
    [
        {"settings": TrainSettings(amp="fp16")},
        {"settings": TrainSettings(amp="bf16")},
        {"settings": TrainSettings(micro_batch=6)},
        {"grad_clip": 0.1},
        {"grad_clip": 0.1, "settings": TrainSettings(amp="fp16")},
        {"optimizer": "muon", "groups": ("no_decay",), "grad_clip": 0.5, "warmup": "7st"},
        {"optimizer": "muon", "settings": TrainSettings(amp="fp16", micro_batch=6)},
        {"augment": False},
        {"groups": ("no_decay", "head", "layer_decay"), "warmup": "7st"},
        {"groups": ("layer_decay",), "freeze": r"^2\.", "scheduler": "plateau"},
        {"settings": TrainSettings(ema=Averaging(0.8, warmup=True)), "scheduler": "plateau"},
        {"settings": TrainSettings(ema=Averaging(0.8), amp="fp16", micro_batch=6)},
    ],
    ids=[
        "fp16",
        "bf16",
        "pieces",
        "clipped",
        "clipped fp16",
        "muon",
        "muon fp16",
        "no augmentation",
        "groups",
        "frozen",
        "averaged",
        "averaged fp16",
    ],
)
def test_precision_pieces_and_clipping_go_on_exactly(case: dict[str, Any]) -> None:
    assert_same(broken(random_steps(case), **case), straight(**case))


def test_early_stopping_goes_on_counting() -> None:
    case: dict[str, Any] = {"settings": TrainSettings(early_stopping=EarlyStopping(4, 1e9))}
    whole = straight(**case)
    assert whole[0][-1].step == 20
    assert_same(broken([3, 8, 17, 19], **case), whole)


def test_the_scale_of_half_precision_goes_on() -> None:
    """It is far from where it begins: a scaler of its own would skip steps and so fall behind."""
    case: dict[str, Any] = {"settings": TrainSettings(amp="fp16")}
    training = Training(small_task(**case))
    assert training.scaler is not None
    training.scaler.load_state_dict({**training.scaler.state_dict(), "scale": 2.0**20})
    evaluations = training.evaluations()
    next(evaluations)
    scale = training.scaler.get_scale()
    assert scale < 2.0**20
    state = stored(training)
    whole = list(evaluations)
    other = Training(small_task(**case))
    other.load_state_dict(state)
    assert other.scaler is not None
    assert other.scaler.get_scale() == scale
    assert timeless(list(other.evaluations())) == timeless(whole)


class Drawing(Dataset[Any]):
    """Augments its items at random in the loader's processes, from each generator there is."""

    def __init__(self, n: int, seed: int) -> None:
        self.part = images(n, seed)

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        noise = random.random() + float(numpy.random.normal()) + torch.rand(1)
        return self.part.x[index] + 0.1 * noise, self.part.y[index]


@pytest.mark.slow
def test_streamed_data_go_on_at_the_right_batch() -> None:
    parts = [TensorDataset(part.x, part.y) for part in (images(100, 0), images(40, 1))]
    case = {"parts": Parts(*map(StreamedPart, parts), None)}
    assert_same(broken([2, 9, 18], **case), straight(**case))
    assert_same(straight(**case), straight())  # as from memory


@pytest.mark.slow
def test_streamed_data_that_draw_at_random_go_on_exactly() -> None:
    case = {"parts": Parts(StreamedPart(Drawing(100, 0)), StreamedPart(Drawing(40, 1)), None)}
    whole = straight(**case)
    assert_same(broken([2, 9, 18], **case), whole)
    assert timeless(whole[0]) != timeless(straight()[0])


# Where the state is taken


def test_the_state_may_be_taken_while_an_evaluation_is_looked_at() -> None:
    case: dict[str, Any] = {"scheduler": "plateau"}
    whole = straight(**case)
    assert whole[0][-1].lr_end < whole[0][0].lr_end  # the plateau has cut
    for seen in range(1, LENGTH.evaluations + 1):
        training = Training(small_task(**case))
        evaluations = training.evaluations()
        found = [next(evaluations) for _ in range(seen)]
        state = stored(training)
        other = Training(small_task(**case))
        other.load_state_dict(state)
        found += other.evaluations()
        assert_same((found, other.task.model.state_dict()), whole)


def test_taking_the_state_changes_nothing() -> None:
    training = Training(small_task(settings=TrainSettings(checkpoint_every=1)))
    training.task.checkpoint = lambda is_due: training.state_dict() and None
    found = list(training.evaluations())
    assert_same((found, training.task.model.state_dict()), straight())


def test_checkpoints_are_called_for_by_steps_and_epochs_but_not_after_the_last() -> None:
    training = Training(small_task(settings=TrainSettings(checkpoint_every=9)))
    calls: list[tuple[int, bool]] = []
    training.task.checkpoint = lambda is_due: calls.append((training.step, is_due))
    list(training.evaluations())
    assert calls == [(6, False), (9, True), (12, False), (18, True), (24, False)]


def test_a_finished_training_has_nothing_left() -> None:
    training = Training(small_task())
    list(training.evaluations())
    other = Training(small_task())
    other.load_state_dict(stored(training))
    assert list(other.evaluations()) == []
    assert other.is_done


def test_seconds_go_on_where_they_were() -> None:
    training = Training(small_task())
    training.task.should_stop = lambda: training.step == 2
    with pytest.raises(Stopped):
        list(training.evaluations())
    state = training.state_dict()
    other = Training(small_task())
    other.load_state_dict({**state, "seconds": 1000.0})
    first, second = list(other.evaluations())[:2]
    assert first.seconds > 1000
    assert second.seconds < 1000


# What may come to light


def test_losses_that_nobody_has_read_are_read_first() -> None:
    """A training that has diverged a step ago says so instead of being saved."""
    task = small_task()
    good, calls = task.loss, 0

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return good(outputs, targets) * (float("nan") if calls == 2 else 1.0)

    training = Training(dataclasses.replace(task, loss=loss))
    training.task.should_stop = lambda: training.step == 3
    with pytest.raises(Diverged) as ended:
        list(training.evaluations())
    assert ended.value.step == 2


def test_a_divergence_after_going_on_has_the_step_of_the_whole_training() -> None:
    def exploding() -> Any:
        task = small_task()
        good = task.loss

        def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            factor = 1e9 if training.step >= 14 else 1.0
            return good(outputs, targets) * factor

        return dataclasses.replace(task, loss=loss)

    training = Training(exploding())
    training.task.should_stop = lambda: training.step == 13
    with pytest.raises(Stopped):
        list(training.evaluations())
    state = stored(training)
    training = Training(exploding())
    training.load_state_dict(state)
    with pytest.raises(Diverged) as ended:
        list(training.evaluations())
    assert ended.value.step == 14


def test_a_state_of_another_kind_of_device_leaves_its_generators_aside() -> None:
    training = Training(small_task())
    training.task.should_stop = lambda: training.step == 8
    with pytest.raises(Stopped):
        list(training.evaluations())
    state = stored(training)
    gpu = {key: value for key, value in state["generators"][0].items() if key != "cpu"}
    state |= {"device": "cuda", "augmentation": torch.zeros(16, dtype=torch.uint8)}
    state["generators"] = [{**gpu, "cuda": torch.zeros(16, dtype=torch.uint8)}]
    other = Training(small_task())
    other.load_state_dict(state)
    assert [one.step for one in other.evaluations()] == [12, 16, 20, 24, 27]


# Batches of any form


def nested_task(kind: str, **settings: Any) -> Any:
    """A training on batches that are dicts, of 60 samples; a stream has no indices."""
    sources: dict[str, Any] = {
        "padded": own_steps.load("padded"),
        "streamed": own_steps.load("streamed"),
        "sized": own_steps.load("sized"),
        "unsized": own_steps.load("unsized"),
    }
    loader = LoaderSettings(num_workers=settings.pop("num_workers", 0))
    parts = [
        NestedPart(part)
        if kind == "padded"
        else StreamedPart(part, loader, own_steps.collate, is_pairs=False)
        for part in sources[kind][:2]
    ]
    seed_everything(3)
    return dataclasses.replace(
        small_task(settings=TrainSettings(**settings), augment=False),
        model=own_steps.Net(),
        parts=Parts(parts[0], parts[1], None),
        length=Length(11, steps_per_epoch=11 if kind == "unsized" else 3, steps_per_evaluation=4),
        loss_step=functools.partial(own_steps.step, noise=0.1),
        evaluate=own_steps.evaluate,
        is_pairs=False,
    )


def nested_run(kind: str, steps: list[int], **settings: Any) -> tuple[list[Evaluation], Weights]:
    """A training that is stopped after each of `steps` and continued, each time anew."""
    found: list[Evaluation] = []
    state: dict[str, Any] | None = None
    for stop_at in [*steps, None]:
        training = Training(nested_task(kind, **settings))
        if state is not None:
            _disturb()
            training.load_state_dict(state)
        training.task.should_stop = lambda t=training, at=stop_at: t.step == at
        try:
            found += training.evaluations()
        except Stopped:
            state = stored(training)
    return found, training.task.model.state_dict()


@pytest.mark.parametrize("kind", ["padded", "streamed", "sized", "unsized"])
def test_batches_of_any_form_go_on_exactly(kind: str) -> None:
    whole = nested_run(kind, [])
    assert_same(nested_run(kind, [2, 3, 7]), whole)
    assert {"train_loss", "val_loss", "f1"} == whole[0][-1].values.keys()


@pytest.mark.parametrize("kind", ["streamed", "sized"])
def test_the_process_that_reads_makes_no_difference(kind: str) -> None:
    assert_same(nested_run(kind, [], num_workers=1), nested_run(kind, []))


def test_pieces_of_a_nested_batch_add_up() -> None:
    quiet: dict[str, Any] = {"model": own_steps.Net().eval()}
    losses = []
    for settings in ({}, {"micro_batch": 7}):
        task = nested_task("padded", **settings)
        task = dataclasses.replace(task, loss_step=own_steps.step, **quiet)
        training = Training(task)
        batch = next(iter(training._rest_of_epoch()))
        task.model.zero_grad()
        loss = training._backward(batch, 16, 7 if settings else 16)
        losses.append((loss, task.model.head.weight.grad.clone()))
    assert losses[0][0] == pytest.approx(float(losses[1][0]), rel=1e-6)
    torch.testing.assert_close(losses[0][1], losses[1][1])
