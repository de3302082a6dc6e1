"""A loop of Accelerate's, to be run by a launcher: `accelerated_loop.py ACCUMULATE FILE`.

Writes what each optimizer step was taken with, and what the recipe says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig

N_TRAIN, BATCH, EPOCHS = 53, 8, 3  # the last batch is partial
RECIPE = Recipe(0.1, BATCH, ComponentConfig("sgd"), ComponentConfig("one_cycle"), warmup=0.1)


def train(
    accelerator: Any, recipe: Recipe = RECIPE, epochs: int = EPOCHS, resume: Path | None = None
) -> tuple[list[float], Length]:
    """Train as the documentation says; the rate of each optimizer step, and the length.

    It ends after `epochs` of the EPOCHS for which the schedule is built.
    """
    from lrsearch.integrations.accelerate import prepare_schedule

    length = Length.of(
        n_train=N_TRAIN,
        batch_size=BATCH,
        epochs=EPOCHS,
        drop_last=False,
        accumulate=accelerator.gradient_accumulation_steps,
        processes=accelerator.num_processes,
    )
    torch.manual_seed(0)
    x, model = torch.randn(N_TRAIN, 3), torch.nn.Linear(3, 1)
    loader = DataLoader(TensorDataset(x, x.sum(1)), batch_size=BATCH)
    optimizer, built = recipe.build(model, length=length)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    schedule = prepare_schedule(accelerator, built)
    if resume is not None:
        accelerator.load_state(str(resume))
    rates = []
    for _ in range(epochs):
        for batch, targets in loader:
            with accelerator.accumulate(model):
                loss = (model(batch).squeeze(-1) - targets).square().mean()
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    rates.append(float(optimizer.param_groups[0]["lr"]))
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
    return rates, length


if __name__ == "__main__":
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=int(sys.argv[1]))
    rates, length = train(accelerator)
    if accelerator.is_main_process:
        seen = {"processes": accelerator.num_processes, "rates": rates, "steps": length.steps}
        Path(sys.argv[2]).write_text(json.dumps(seen))
    accelerator.end_training()
