"""Which studies a worker keeps loaded."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lrsearch.study.index import Waiting
from lrsearch.workers.loaded import MOST, LoadedStudies, LoadedStudy


@pytest.fixture(autouse=True)
def garbage() -> Iterator[None]:
    """What was frozen before is frozen afterwards."""
    gc.freeze()
    yield
    gc.freeze()


def study(number: int, runs: int = 1) -> Waiting:
    return Waiting(number, f"study-{number}", runs, 0, 1.0, 0.0, {}, 0)


def loaded(on_gpu: bool = False) -> LoadedStudy:
    """A loaded study, of which only the place of its data counts."""
    objective = SimpleNamespace(keeps_device_memory=on_gpu)
    return cast(LoadedStudy, SimpleNamespace(trials=SimpleNamespace(objective=objective)))


def serve(studies: LoadedStudies, waiting: Waiting, on_gpu: bool = False) -> bool:
    """Serves a study; whether it had to be loaded."""
    if studies.get(waiting) is not None:
        return False
    studies.make_room(waiting)
    studies.add(waiting, loaded(on_gpu))
    return True


def test_the_studies_that_were_served_last_are_kept() -> None:
    studies = LoadedStudies()
    assert all(serve(studies, study(number)) for number in range(MOST))
    assert not any(serve(studies, study(number)) for number in range(MOST))
    assert not serve(studies, study(0))
    assert serve(studies, study(MOST))
    assert not serve(studies, study(0))
    assert serve(studies, study(1))  # the one that was not served for longest


def test_a_study_whose_settings_may_have_changed_is_loaded_again() -> None:
    studies = LoadedStudies()
    serve(studies, study(0))
    assert serve(studies, study(0, runs=2))
    assert not serve(studies, study(0, runs=2))


def test_the_data_of_one_study_alone_are_on_a_gpu() -> None:
    studies = LoadedStudies()
    serve(studies, study(0), on_gpu=True)
    assert not serve(studies, study(0), on_gpu=True)
    serve(studies, study(1))
    assert serve(studies, study(0), on_gpu=True)
    assert not serve(studies, study(1))  # which trains on the GPU, too
    assert serve(studies, study(0), on_gpu=True)


def test_what_is_dropped_is_freed() -> None:
    studies = LoadedStudies()
    freed: list[int] = []

    class Data:
        def __init__(self) -> None:
            self.itself: Any = self

        def __del__(self) -> None:
            freed.append(1)

    serve(studies, study(0))
    kept = studies.get(study(0))
    assert kept is not None
    kept.trials.objective.data = Data()  # type: ignore[attr-defined]
    studies.add(study(0), kept)  # it is out of the garbage collector's sight now
    del kept
    serve(studies, study(0, runs=2))
    assert freed == [1]
