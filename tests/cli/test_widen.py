"""The command that makes a wider study."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from synthetic import recipe, study_of, trial

from lrsearch.analysis.edges import find_edges
from lrsearch.analysis.parameters import settings_of
from lrsearch.analysis.study_data import StudyData
from lrsearch.cli.compose import load_configuration, load_settings
from lrsearch.cli.widen import widening_command
from lrsearch.config.storage import DEFAULT_URL
from lrsearch.settings import Settings


def at_the_edge(*overrides: str) -> StudyData:
    return study_of([trial(k, recipe(0.95, 64), 0.1 + k) for k in range(10)], *overrides)


def command(study: StudyData, url: str = DEFAULT_URL) -> str | None:
    return widening_command(study, find_edges(study, settings_of(study)), url)


def loaded(line: str) -> Settings:
    return load_settings(arguments(line))


def arguments(line: str) -> list[str]:
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "lrsearch"]
    return words[3:]


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("train.epochs=3", "study.n_trials=200", "pruner=asha", "study.seed=7"),
        ("sampler=gp", "model=mlp", "space.weight_decay.value=0.0", "train.loss=mse"),
        ("space.batch_size.choices=[32,64,100]", "space.momentum=null", "train.eval_every=2ep"),
        ("space.scheduler.only=[cosine,wsd]", "train.metrics=[accuracy]", "space.warmup=null"),
    ],
)
def test_it_is_the_same_study_but_wider_and_begins_with_the_best(
    overrides: tuple[str, ...],
) -> None:
    study = at_the_edge(*overrides)
    line = command(study)
    assert line is not None
    old, new = settings_of(study), loaded(line)
    assert new.study.name == "digits-wider"
    assert (old.space.shared["lr"].high, new.space.shared["lr"].high) == (1.0, 10.0)  # type: ignore[attr-defined]
    assert new.study.try_first[0]["lr"] == 0.95
    assert (new.train, new.model, new.sampler, new.pruner) == (
        old.train, old.model, old.sampler, old.pruner,
    )  # fmt: skip
    assert (new.study.n_trials, new.study.seed) == (old.study.n_trials, old.study.seed)
    assert new.space.scheduler == old.space.scheduler


def test_the_database_is_named_where_it_is_not_the_usual_one() -> None:
    line = command(at_the_edge(), "sqlite:////somewhere/x.db")
    assert line is not None
    runtime = load_configuration(arguments(line)).runtime
    assert runtime.storage_url == "sqlite:////somewhere/x.db"


def test_nothing_is_widened_where_nothing_is_at_an_edge() -> None:
    middle = recipe(0.05, 64, "constant", warmup=0.1)
    trials = [trial(k, middle, 0.1 + k) for k in range(10)]
    study = study_of(trials, "space.weight_decay=null", "space.optimizer.sgd.momentum.value=0.9")
    assert command(study) is None


def test_a_sweep_that_is_not_here_gives_no_command() -> None:
    study = at_the_edge()
    assert command(replace(study, config={**study.config, "sweep": "gone"})) is None
