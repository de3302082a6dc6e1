"""TensorBoard's own reading of what a sweep has logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lrsearch.loggers import LoggedTrial, build_logger
from lrsearch.registry import ComponentConfig

pytest.importorskip("tensorboard", reason="pip install 'lrsearch[tensorboard]'")

HPARAMS = {"lr": 0.1, "scheduler": "cosine"}


def trial(is_new: bool = True) -> LoggedTrial:
    return LoggedTrial("digits", 1, 3, is_new, HPARAMS)


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "digits" / "tensorboard" / "trial-0003"))
    found.Reload()
    return found


def logged(folder: Path, first: int, last: int, is_new: bool = True, end: bool = False) -> None:
    open_log = build_logger(ComponentConfig("tensorboard", {"folder": str(folder)}))
    assert open_log is not None
    log = open_log(trial(is_new))
    for step in range(first, last + 1):
        log.log(step, {"val_loss": 1.0 / step, "lr": 0.1})
    if end:
        log.end("complete", "val_loss", 0.25)
    log.close()


def test_a_trial_has_a_folder_of_its_own_with_its_curves_and_its_recipe(tmp_path: Path) -> None:
    logged(tmp_path, 1, 4, end=True)
    found = events(tmp_path)
    assert {"val_loss", "lr"} <= set(found.Tags()["scalars"])
    points = found.Scalars("val_loss")
    assert [point.step for point in points] == [1, 2, 3, 4]
    assert points[3].value == pytest.approx(0.25)
    assert found.Scalars("hparams/val_loss")[0].value == pytest.approx(0.25)
    assert any("hparams" in name for name in found.summary_metadata)


def test_a_takeover_goes_on_without_steps_that_are_there_twice(tmp_path: Path) -> None:
    logged(tmp_path, 1, 4)
    logged(tmp_path, 3, 6, is_new=False)  # from its checkpoint after step 2
    assert [point.step for point in events(tmp_path).Scalars("val_loss")] == [1, 2, 3, 4, 5, 6]
