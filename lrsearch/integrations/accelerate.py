"""A recipe's schedule in a loop of Hugging Face's Accelerate."""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.scheduler import AcceleratedScheduler

from lrsearch.schedules.schedule import Schedule


def prepare_schedule(accelerator: Accelerator, schedule: Schedule) -> AcceleratedScheduler:
    """Prepare a schedule whose optimizer is prepared: `save_state` holds it from then on.

    Call `step()` after each batch. It takes a step of the schedule where the optimizer has taken
    one: where gradients are accumulated, after the last of them. `Accelerator.prepare` alone would
    take a step for each process.
    """
    prepared = accelerator.prepare_scheduler(schedule)
    # Set where a batch is divided among the processes: then too there is one step for each.
    prepared.split_batches = True
    return prepared
