"""A recipe's schedule in the loops of the real Accelerate."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import accelerated_loop
import pytest
from accelerated_loop import RECIPE

from lrsearch.parameters.durations import Length
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS

pytestmark = pytest.mark.xdist_group("transformers")  # which imports it, too


def accelerator_of(accumulate: int = 1, **options: Any) -> Any:
    from accelerate import Accelerator

    return Accelerator(cpu=True, gradient_accumulation_steps=accumulate, **options)


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "plateau"])
def test_each_step_has_the_rate_of_the_preview(name: str) -> None:
    """With a partial last batch, and a partial last window of gradient accumulation."""
    recipe = dataclasses.replace(RECIPE, scheduler=ComponentConfig(name))
    rates, length = accelerated_loop.train(accelerator_of(3), recipe)
    assert length.steps == 9
    assert rates == recipe.preview(length).rates[:-1]


def test_a_saved_state_holds_the_schedule(tmp_path: Path) -> None:
    whole, length = accelerated_loop.train(accelerator_of())
    first = accelerator_of()
    begun, _ = accelerated_loop.train(first, epochs=1)
    first.save_state(str(tmp_path))
    rest, _ = accelerated_loop.train(accelerator_of(), epochs=2, resume=tmp_path)
    assert begun + rest == whole == RECIPE.preview(length).rates[:-1]


def test_batches_that_are_divided_take_one_step_too() -> None:
    from accelerate.utils import DataLoaderConfiguration

    divided = DataLoaderConfiguration(split_batches=True)
    rates, length = accelerated_loop.train(accelerator_of(dataloader_config=divided))
    assert rates == RECIPE.preview(length).rates[:-1]


@pytest.mark.slow
def test_two_processes_have_the_rates_of_the_preview(tmp_path: Path) -> None:
    out, script = tmp_path / "seen.json", Path(accelerated_loop.__file__)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    subprocess.run([*command, str(script), "3", str(out)], check=True, env=environment, timeout=200)
    seen = json.loads(out.read_text())
    assert (seen["processes"], seen["steps"]) == (2, 6)
    length = Length.of(steps=seen["steps"], epochs=accelerated_loop.EPOCHS)
    assert seen["rates"] == RECIPE.preview(length).rates[:-1]
