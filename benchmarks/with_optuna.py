"""Train the recipes in the style of Optuna's own PyTorch example (pytorch_simple.py).

As in the example, the objective creates the loaders, without worker processes; each epoch reports,
and asks whether to prune. As in the guide to parallelisation, two processes share one storage.
"""

from __future__ import annotations

from functools import partial
from multiprocessing import get_context

import optuna
import torch
from loaders import get_mnist, validate
from task import (
    RECIPES,
    Recipe,
    Task,
    Trial,
    build_model,
    build_optimizer,
    build_scheduler,
    hand_in,
    own_session,
)
from torch.nn.functional import cross_entropy

PROCESSES = 2
STORAGE, STUDY = "sqlite:///optuna.db", "overhead"


def objective(trial: optuna.Trial, task: Task) -> float:
    """Train one setting; return its last validation loss."""
    recipe = Recipe(
        batch_size=trial.suggest_categorical("batch_size", [64, 128, 256]),
        optimizer=trial.suggest_categorical("optimizer", ["sgd", "adamw"]),
        lr=trial.suggest_float("lr", 1e-4, 1.0, log=True),
        scheduler=trial.suggest_categorical(
            "scheduler", ["constant", "step", "cosine", "one_cycle"]
        ),
    )
    torch.manual_seed(1000 * task.seed + trial.number)
    model = build_model(task.hidden)
    optimizer = build_optimizer(model, recipe)
    scheduler = build_scheduler(optimizer, recipe, task.steps(recipe))
    train_loader, validation_loader = get_mnist(task.data, recipe.batch_size)
    steps = 0
    for epoch in range(task.epochs):
        model.train()
        for data, target in train_loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(data), target)
            loss.backward()
            optimizer.step()
            scheduler.step()
            steps += 1
        validation_loss = validate(model, validation_loader)
        trial.report(validation_loss, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr("steps", steps)
    return validation_loss


def optimize(task: Task) -> None:
    """Run this process's share of the trials."""
    torch.set_num_threads(1)  # two processes with a thread for each core would compete
    study = optuna.load_study(study_name=STUDY, storage=STORAGE, pruner=optuna.pruners.NopPruner())
    study.optimize(partial(objective, task=task), n_trials=len(RECIPES) // PROCESSES)


def as_trial(trial: optuna.trial.FrozenTrial) -> Trial:
    """Convert a finished trial, with Optuna's own timestamps."""
    assert trial.datetime_start is not None
    assert trial.datetime_complete is not None
    return Trial(
        recipe=RECIPES.index(Recipe(**trial.params)),
        start=trial.datetime_start.timestamp(),
        end=trial.datetime_complete.timestamp(),
        steps=trial.user_attrs["steps"],
        validation_loss=trial.value,
    )


def main() -> None:
    task = Task.from_command_line()
    study = optuna.create_study(study_name=STUDY, storage=STORAGE, direction="minimize")
    for recipe in RECIPES:
        study.enqueue_trial(vars(recipe))
    with get_context("spawn").Pool(PROCESSES, initializer=own_session) as pool:
        pool.map(optimize, [task] * PROCESSES, chunksize=1)
    hand_in(map(as_trial, study.get_trials(states=[optuna.trial.TrialState.COMPLETE])))


if __name__ == "__main__":
    main()
