"""Train the recipes in the style of the PyTorch tutorial "Hyperparameter tuning with Ray Tune".

As in the tutorial, the training function creates the loaders, each step reads its loss, each epoch
writes a checkpoint and reports. The tutorial gives a trial several CPUs for worker processes of
the loaders; a trial has one CPU here, so they have none, as in Ray's own MNIST example.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from loaders import get_mnist, validate
from ray import tune
from task import (
    RECIPES,
    Task,
    Trial,
    build_model,
    build_optimizer,
    build_scheduler,
    hand_in,
)
from torch import nn

CONCURRENT = 2


def train(config: dict[str, Any], task: Task) -> None:
    """Train one setting; report after each epoch."""
    start = time.time()
    recipe = RECIPES[config["recipe"]]
    torch.manual_seed(1000 * task.seed + config["recipe"])
    net = build_model(task.hidden)
    criterion = nn.CrossEntropyLoss()
    optimizer = build_optimizer(net, recipe)
    scheduler = build_scheduler(optimizer, recipe, task.steps(recipe))
    train_loader, validation_loader = get_mnist(task.data, recipe.batch_size)
    steps = 0
    for _ in range(task.epochs):
        net.train()
        running_loss = 0.0
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
            running_loss += loss.item()
            steps += 1
        found = {"loss": validate(net, validation_loader), "steps": steps}
        with tempfile.TemporaryDirectory() as folder:
            state = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, Path(folder) / "checkpoint.pt")
            tune.report(
                {**found, "start": start, "end": time.time()},
                checkpoint=tune.Checkpoint.from_directory(folder),
            )


def main() -> None:
    task = Task.from_command_line()
    here = Path.cwd()
    ray.init(num_cpus=CONCURRENT, _temp_dir=str(here / "ray"))
    tuner = tune.Tuner(
        tune.with_resources(partial(train, task=task), {"cpu": 1}),
        param_space={"recipe": tune.grid_search(list(range(len(RECIPES))))},
        tune_config=tune.TuneConfig(metric="loss", mode="min", max_concurrent_trials=CONCURRENT),
        run_config=tune.RunConfig(storage_path=str(here / "results")),
    )
    results = tuner.fit()
    if results.errors:
        raise results.errors[0]
    hand_in(
        Trial(
            recipe=result.config["recipe"],
            start=result.metrics["start"],
            end=result.metrics["end"],
            steps=result.metrics["steps"],
            validation_loss=result.metrics["loss"],
        )
        for result in results
    )
    ray.shutdown()


if __name__ == "__main__":
    main()
