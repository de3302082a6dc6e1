"""lrsearch's own training as an objective."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from lrsearch import measures
from lrsearch.checkpoints.store import Checkpoints
from lrsearch.data.class_balance import balanced_weights
from lrsearch.data.folds import fold_numbers, fold_parts
from lrsearch.data.parts import Parts, TensorPart, first_samples, on_device, open_parts
from lrsearch.data.prepare import prepare
from lrsearch.data.spec import DataInfo, DataSpec
from lrsearch.errors import LrsearchError, OwnCodeError, UserError
from lrsearch.evaluation import PartScores
from lrsearch.measures.build import build as build_measure
from lrsearch.models import build_model, check_model, model_class
from lrsearch.objectives.base import Report, ScoredPart
from lrsearch.objectives.folds import FoldedTraining, fold_seed
from lrsearch.objectives.resumable import Resumable, Trainable
from lrsearch.own_code import own_callable
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.seeds import derived_seed, seed_everything
from lrsearch.settings import Settings
from lrsearch.space.domains import Domain
from lrsearch.training.batches import EvaluationBatches, samples_of
from lrsearch.training.devices import device_label
from lrsearch.training.dry_pass import dry_pass
from lrsearch.training.loop import Task, Training, autocast_of
from lrsearch.training.memory import keep_freed_memory
from lrsearch.training.micro_batch import MicroBatch
from lrsearch.training.precision import precision_of
from lrsearch.training.ranks import Ranks
from lrsearch.training.sample_means import EachSample
from lrsearch.training.scores import Measures
from lrsearch.training.settings import EVALUATION_BATCH
from lrsearch.tuning.trajectory import LrTrajectory


class TrainingObjective:
    """lrsearch's own training; the data are copied to the device once for all trials."""

    def __init__(
        self,
        settings: Settings,
        info: DataInfo,
        device: torch.device,
        samples: int | None = None,
        ranks: Ranks | None = None,
        data_device: torch.device | None = None,
    ) -> None:
        """`data_device` is where the data are kept; None is `device`, where the model trains."""
        self.settings, self.device = settings, device
        self._data_device = data_device or device
        self.ranks = ranks or Ranks()
        self.device_name = device_label(device)
        metrics = measures.metric_targets(settings.train.metrics, info.n_classes)
        self.metrics = {
            name: build_measure(target, measures.METRICS, f"train.metrics.{name}")
            for name, target in metrics.items()
        }
        self._micro_batches: dict[tuple[int, str], MicroBatch] = {}
        self.loss_step = _own_function(settings.train.loss_step, "train.loss_step")
        self.evaluate = _own_function(settings.train.evaluate, "train.evaluate")
        self._spec = settings.data
        self._info = info
        few = None if self.evaluate is not None else samples
        self._parts = parts_on_device(open_parts(self._spec, info), self._data_device, samples, few)
        self._set_losses(info)
        self._check_arguments()
        keep_freed_memory()
        # The first optimizer of a process makes torch import modules for about a second. Doing so
        # here keeps it out of the time of the first trial.
        torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)

    def _set_losses(self, info: DataInfo) -> None:
        """Build the loss of the training and that of evaluations, for these data."""
        target = measures.loss_target(self.settings.train.loss, info.n_classes, info.has_labels)
        plain = measures.evaluated_loss(target)
        target = measures.with_weights(target, lambda: balanced_weights(info))
        self.loss = build_measure(target, measures.LOSSES, "train.loss")
        self.evaluated_loss = build_measure(plain, measures.LOSSES, "train.loss")
        train = self.settings.train
        weighted = (torch.nn.CrossEntropyLoss, torch.nn.NLLLoss)
        is_weighted = isinstance(self.loss, weighted) and self.loss.weight is not None
        if is_weighted and (train.gpus > 1 or train.micro_batch is not None):
            raise UserError(
                f"train.loss: {type(self.loss).__name__} with weights divides each part of a batch "
                f"by its own weights, so that results would depend on train.gpus and "
                f"train.micro_batch: take train.loss={{name: cross_entropy, class_weights: [...]}}"
            )

    def _check_arguments(self) -> None:
        """Raise UserError for arguments that the model does not take, before any trial fails."""
        model = self.settings.model
        tuned = dict.fromkeys(self.settings.space.tuned("model"))
        check_model(model_class(model), model, {**model.arguments, **tuned}, self._info)

    def task(
        self, recipe: Recipe, seed: int, should_stop: Callable[[], bool], fold: int = 0
    ) -> Task:
        """The task of training a recipe, with a model that is initialised from `seed`.

        With folds, the validation part is the fold with this number, from 0.
        """
        spec, info, parts = self._data_for(recipe)
        if spec.folds is not None:
            parts = _parts_of_fold(parts, spec.folds, spec.split_seed, fold)
        seed_everything(seed)
        return Task(
            model=self._model(recipe, info),
            parts=parts,
            recipe=recipe,
            settings=self.settings.train,
            length=self.settings.train.length(recipe.batch_size, info.n_train),
            loss=self.loss,
            evaluated_loss=self.evaluated_loss,
            metrics=self.metrics if info.is_pairs else {},
            seed=seed,
            device=self.device,
            loss_step=self.loss_step,
            evaluate=self.evaluate,
            is_pairs=info.is_pairs,
            crop=spec.crop,
            flip=spec.flip,
            should_stop=should_stop,
            metric_name=self.settings.metric.name,
            metric_mode=self.settings.metric.mode,
            keeps_best=self.settings.metric.at == "best",
            micro_batch=self._micro_batch(recipe),
        )

    def dry_pass(self) -> None:
        """Train on a few samples with a recipe of the space, before anything is stored.

        Recipes in the middle and at both ends of all ranges are tried. Raises the UserError or
        OwnCodeError of the first if none of them works.
        """
        choices: Sequence[Callable[[Domain], Any]] = (
            lambda domain: domain.middle(),
            lambda domain: domain.ends()[0],
            lambda domain: domain.ends()[-1],
        )
        errors: list[LrsearchError] = []
        for choose in choices:
            try:
                recipe = self.settings.space.recipe(_chooser(choose))
                # Tuned arguments of the data are left out, since the data would be read again.
                build = partial(self.task, dataclasses.replace(recipe, data={}), 0, lambda: False)
                dry_pass(build, self.settings.model.name, self._wanted())
            except (UserError, OwnCodeError) as error:
                errors.append(error)
            else:
                return
        raise errors[0]

    def _wanted(self) -> dict[str, str]:
        """The values that an evaluation must give, and the key that asks for each."""
        wanted: dict[str, str] = {}
        for option in self.settings.space.scheduler:
            recipe = self.settings.space.recipe(_with_scheduler(option))
            monitor = recipe.call(self._length(recipe.batch_size))[0].monitor
            if monitor is not None:
                wanted[monitor] = f"space.scheduler.{option}.monitor"
        return {**wanted, self.settings.metric.name: "metric.name"}

    @property
    def keeps_device_memory(self) -> bool:
        """Whether its data are on a GPU."""
        return self._data_device.type != "cpu"

    @property
    def n_train(self) -> int | None:
        """Number of training samples; None for a stream that does not tell it."""
        return self._info.n_train

    def run(
        self,
        recipe: Recipe,
        seed: int,
        report: Report,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> Mapping[str, torch.Tensor] | None:
        def begin(seed: int, fold: int = 0) -> Training:
            task = self.task(recipe, seed, should_stop, fold)
            task.progress, task.ranks = report.progress, self.ranks
            training = Training(task)
            if not self.ranks.is_first:  # all have the same weights, and noise of their own
                seed_everything(derived_seed(seed, "rank", self.ranks.rank))
            return training

        folds, metric = self.settings.data.folds, self.settings.metric

        def begin_all() -> Trainable:
            if folds is None:
                return begin(seed)
            return FoldedTraining(lambda fold: begin(fold_seed(seed, fold), fold), folds, metric)

        facts = {
            "model": repr(self.settings.model),
            "data": self._data_for(recipe)[1].fingerprint,
            "folds": f"{folds}, split by {self.settings.data.split_seed}",
        }
        return Resumable(begin_all, checkpoints, facts).run(report)

    def _micro_batch(self, recipe: Recipe) -> MicroBatch:
        """The micro batch of all trainings with this model and batch size."""
        key = (recipe.batch_size, repr(sorted(recipe.model.items())))
        return self._micro_batches.setdefault(key, MicroBatch(self.settings.train.micro_batch))

    def _model(self, recipe: Recipe, info: DataInfo) -> torch.nn.Module:
        model = self.settings.model
        arguments = {**model.arguments, **recipe.model}
        built = build_model(model, arguments, info).to(self.device)
        if self.settings.train.channels_last:
            built = built.to(memory_format=torch.channels_last)
        return built

    def score(
        self,
        recipe: Recipe,
        weights: Mapping[str, torch.Tensor],
        part: ScoredPart,
        progress: Callable[[], None] = lambda: None,
    ) -> PartScores | None:
        spec, info, parts = self._data_for(recipe)
        samples = parts.validation if part == "val" else open_parts(spec, info).test
        if samples is None:
            return None
        unknown = self._hides_samples(info, part)
        count = samples_of(samples)
        if part == "val" and unknown is not None:
            return PartScores({}, {}, None if spec.folds is not None else count, unknown)
        model = self._model(recipe, info)
        model.load_state_dict(weights)
        model.eval()
        train = self.settings.train
        samples, precision = on_device(samples, self.device), precision_of(model)

        def scores(size: int) -> PartScores:
            loss, metrics = (
                EachSample(self.evaluated_loss),
                {name: EachSample(metric) for name, metric in self.metrics.items()},
            )
            measures = Measures(loss, metrics, self.loss_step, self.evaluate, info.is_pairs)
            batches = EvaluationBatches(
                samples, size, self.device, precision, progress, train.channels_last
            )
            values = measures.values(model, batches, autocast_of(train.amp, self.device.type), part)
            by_name = {} if unknown is not None else {"loss": loss, **metrics}
            means = {}
            for name, measure in by_name.items():
                full = f"{part}_{name}"
                means[full] = measure.sample_means(values[full], full, count)
            return PartScores(values, means, count, unknown)

        return self._micro_batch(recipe).evaluate(scores, count or EVALUATION_BATCH, model)

    def _hides_samples(self, info: DataInfo, part: ScoredPart) -> str | None:
        """Why the values of an evaluation are not known sample by sample; None where they are."""
        if self.evaluate is not None:
            return "train.evaluate returns values of the whole part"
        if not info.is_pairs:
            return "train.loss_step returns the loss of a whole batch"
        if info.is_stream:
            return "a stream does not number its samples"
        if part == "val" and self.settings.data.folds is not None:
            return "the value is a mean over folds"
        return None

    def trajectory(self, recipe: Recipe) -> LrTrajectory:
        self._data_for(recipe)
        return LrTrajectory.of(recipe, self._length(recipe.batch_size), self._folds)

    def parts(self) -> int:
        sizes = self.settings.space.shared["batch_size"].grid()
        return self._folds * max(self._length(size).evaluations for size in sizes)

    @property
    def _folds(self) -> int:
        """Number of trainings of a trial."""
        return self.settings.data.folds or 1

    def _length(self, batch_size: int) -> Length:
        return self.settings.train.length(batch_size, self._info.n_train)

    def _data_for(self, recipe: Recipe) -> tuple[DataSpec, DataInfo, Parts]:
        """The data with the tuned arguments of a recipe; the last data read are kept."""
        spec = self.settings.data.with_arguments(recipe.data)
        if dataclasses.replace(spec, crop=0, flip=False) != dataclasses.replace(
            self._spec, crop=0, flip=False
        ):
            # Assigned only after both calls: if the user's function fails, the old data stay.
            info = prepare(spec)
            parts = parts_on_device(open_parts(spec, info), self._data_device)
            self._set_losses(info)
            self._parts, self._info = parts, info
        self._spec = spec
        return spec, self._info, self._parts


def _with_scheduler(option: str) -> Callable[[str, Domain], Any]:
    """A chooser for `Space.recipe`: the middle of each domain, with a given scheduler."""
    return lambda name, domain: option if name == "scheduler" else domain.middle()


def _chooser(choose: Callable[[Domain], Any]) -> Callable[[str, Domain], Any]:
    """A chooser for `Space.recipe` that chooses by the domain alone."""
    return lambda name, domain: choose(domain)


def _parts_of_fold(parts: Parts, folds: int, seed: int, fold: int) -> Parts:
    """The training and validation part of one fold of both parts together."""
    assert isinstance(parts.train, TensorPart), "streamed data have no folds"
    assert isinstance(parts.validation, TensorPart), "streamed data have no folds"
    x = torch.cat([parts.train.x, parts.validation.x])
    y = torch.cat([parts.train.y, parts.validation.y])
    numbers = fold_numbers(y.cpu(), folds, seed).to(x.device)
    train_x, train_y, validation_x, validation_y = fold_parts(x, y, numbers, fold)
    return Parts(TensorPart(train_x, train_y), TensorPart(validation_x, validation_y), None)


def _own_function(config: ComponentConfig | None, key: str) -> Any:
    """The user's function of (model, ...) that a key of the configuration names; None without.

    Raises UserError if it cannot be imported or does not take its arguments.
    """
    if config is None or config.target is None:
        return None
    return own_callable(config.target, config.arguments, key, positional=2)


def parts_on_device(
    parts: Parts,
    device: torch.device,
    train: int | None = None,
    validation: int | None = None,
) -> Parts:
    """Copy training and validation part to a device, except streamed parts.

    `train` and `validation` limit the parts to their first samples.
    """
    return Parts(
        train=on_device(first_samples(parts.train, train), device),
        validation=on_device(first_samples(parts.validation, validation), device),
        test=None,  # never used in training
    )
