"""Reading configurations: a new one, and its stored part again."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from lrsearch.cli.catalogue import find_sweeps
from lrsearch.cli.compose import load_configuration, load_settings
from lrsearch.config.batches import fit_batches
from lrsearch.config.load import RUNTIME, STORED, new_configuration, stored_settings, with_space
from lrsearch.config.ranges import with_ranges
from lrsearch.errors import ConfigErrors
from lrsearch.launchers import LAUNCHERS
from lrsearch.settings import RuntimeSettings, Settings


@pytest.mark.parametrize("sweep", sorted(find_sweeps()))
def test_what_is_stored_is_read_back_as_it_was(sweep: str) -> None:
    made = load_settings([f"+sweep={sweep}"])
    assert stored_settings(made.plain) == replace(made, notes=())


def test_only_the_stored_part_is_stored() -> None:
    made = load_configuration(["+sweep=digits", "workers=3", "output_dir=elsewhere"])
    assert made.settings.plain.keys() <= set(STORED)
    assert (made.runtime.workers, made.runtime.output_dir) == (3, "elsewhere")
    names = [{field.name for field in fields(cls)} for cls in (Settings, RuntimeSettings)]
    assert names[0].isdisjoint(names[1])


def test_problems_of_both_parts_are_reported_at_once() -> None:
    plain = {**load_settings(["+sweep=digits"]).plain, **dict.fromkeys(RUNTIME)}
    plain |= {"workers": 0, "dry_run": "maybe", "queue": {"lease": 0}}
    with pytest.raises(ConfigErrors) as refused:
        new_configuration(plain, LAUNCHERS)
    text = str(refused.value)
    assert all(key in text for key in ("storage.url", "workers: 0", "dry_run", "queue.lease: 0"))


def test_keys_of_a_section_may_be_otherwise_on_a_machine() -> None:
    made = load_settings(["+sweep=digits"])
    here = stored_settings(made.plain, data={"cache": "/here"}, train={"threads": 2})
    assert str(here.data.cache) == "/here"
    assert here.train == replace(made.train, threads=2)
    assert here.space == made.space


def test_another_space_keeps_the_rest_and_must_fit_it() -> None:
    made = load_settings(["+sweep=digits", "study.try_first=[{lr: 0.1}]"])
    space = made.plain["space"]
    wider = with_space(made, {**space, "lr": {"low": 0.01, "high": 1.0, "log": True}})
    assert wider.plain == {**made.plain, "space": wider.plain["space"]}
    assert (wider.study, wider.notes) == (made.study, made.notes)
    with pytest.raises(ConfigErrors, match=r"study\.try_first\[0\]: lr: 0\.1 is outside"):
        with_space(made, {**space, "lr": {"low": 0.2, "high": 1.0}})


def test_another_space_and_cut_batches_keep_parameter_groups() -> None:
    groups = ["train.groups=[no_decay,head]", 'train.freeze="^body"', "space.lr=auto"]
    made = load_settings(["+sweep=digits", *groups, "space.batch_size={low: 32, high: 4096}"])
    found = with_ranges(made, {"lr": {"low": 0.01, "high": 1.0, "log": True}})
    assert found.space != made.space
    for changed in (found, fit_batches(made, 1078, "digits")):
        assert (changed.space.groups, changed.space.freeze) == (made.train.groups, "^body")
