"""`set`: how workers serve a study is changed while it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Command, Query

from lrsearch.cli.compose import load_settings
from lrsearch.config.service import read_changes
from lrsearch.data.spec import DataInfo
from lrsearch.errors import ConfigErrors
from lrsearch.settings import SERVICE_KEYS, ServiceSettings
from lrsearch.storage.optuna_bridge import open_database
from lrsearch.storage.tables import StudyRow
from lrsearch.study.service import put_service, service_of
from lrsearch.study.study import load_row, open_study

URL = "sqlite:///lrsearch.db"
INFO = DataInfo(
    name="digits", fingerprint="abc", input_shape=(1, 8, 8), n_classes=10, n_train=1078,
    n_validation=360, n_test=359, fallback_reason=None, wanted="digits", file=None,
)  # fmt: skip


def submit(*overrides: str) -> tuple[str, ...]:
    """Store the study `digits`, or open it again; return what was noted."""
    settings = load_settings(["+sweep=digits", "study.n_trials=3", *overrides])
    studies, database = open_database(URL)
    study = open_study(settings, INFO, database, studies)
    studies.close()
    return study.notes


def values() -> dict[str, object]:
    studies, database = open_database(URL)
    service = service_of(load_row(database, "digits"))
    studies.close()
    return service


@pytest.fixture
def digits(command: Command) -> None:
    submit("study.priority=1", "study.tags=[x,y]", "study.needs={gpu_memory: 24, labels: [a100]}")


def changes(query: Query) -> list[list[object]]:
    ((stored,),) = query("select json_extract(record, '$.changes') from lrsearch_studies")
    recorded = json.loads(str(stored))
    assert all(change["at"].endswith("+00:00") for change in recorded)
    return [[change["key"], change["old"], change["new"]] for change in recorded]


def test_what_a_sweep_says_is_stored_and_shown(command: Command, digits: None) -> None:
    code, out, _ = command("set", "digits")
    assert code == 0
    assert out.splitlines() == [
        "priority=1", "share=1.0", "max_running=null", "owner=null", "tags=[x,y]",
        "allow_versions=false", "needs.gpu_memory=24.0", "needs.labels=[a100]",
    ]  # fmt: skip


def test_every_key_is_changed_and_recorded(command: Command, digits: None, query: Query) -> None:
    code, out, _ = command(
        "set", "digits", "priority=3", "share=2.5", "max_running=4", "owner=2024",
        "tags=nightly", "allow_versions=true", "needs.gpu_memory=null", "needs.labels=[a,b]",
    )  # fmt: skip
    assert code == 0
    assert "digits: max_running is 4 (was null)" in out
    assert values() == {
        "priority": 3, "share": 2.5, "max_running": 4, "owner": "2024", "tags": ["nightly"],
        "allow_versions": True, "needs.gpu_memory": None, "needs.labels": ["a", "b"],
    }  # fmt: skip
    assert changes(query) == [
        ["priority", 1, 3],
        ["share", 1.0, 2.5],
        ["max_running", None, 4],
        ["owner", None, "2024"],
        ["tags", ["x", "y"], ["nightly"]],
        ["allow_versions", False, True],
        ["needs.gpu_memory", 24.0, None],
        ["needs.labels", ["a100"], ["a", "b"]],
    ]
    assert "nothing has changed" in command("set", "digits", "priority=3")[1]
    assert len(changes(query)) == 8


def test_the_command_of_a_worker_gives_it_the_labels_that_are_needed(
    command: Command, digits: None
) -> None:
    for arguments in (("status", "digits"), ("resume", "digits"), ("try", "digits", "lr=0.1")):
        assert "worker --sweep digits --until-empty --label a100" in command(*arguments)[1]


def test_all_bad_values_are_named_at_once_and_nothing_changes(
    command: Command, digits: None
) -> None:
    before = values()
    code, _, error = command(
        "set", "digits", "priority=1.5", "share=0", "max_running=0", "tags=[a b]", "owner=' '",
        "needs.gpu_memory=many", "needs.label=a", "allow_versions=perhaps", "n_trials=9",
    )  # fmt: skip
    assert code == 2
    for part in (
        "priority: 1.5 is not a whole number", "share: 0 is not valid",
        "max_running: 0 is not valid",
        "tags: 'a b' is not a word", "owner: ' ' is not a name", "needs.gpu_memory: 'many'",
        "'needs.label' is unknown; did you mean needs.labels?", "allow_versions: 'perhaps'",
        "'n_trials' is unknown",
    ):  # fmt: skip
        assert part in error
    assert values() == before
    code, _, error = command("set", "digit", "priority=1")
    assert code == 2
    assert "did you mean digits?" in error


def test_a_sweep_that_is_run_again_keeps_what_was_set_by_hand(
    command: Command, digits: None, query: Query
) -> None:
    command("set", "digits", "share=3", "priority=5", "needs.labels=[]")
    again = ("study.priority=1", "study.tags=[x,y]", "study.needs={gpu_memory: 24, labels: [a100]}")
    notes = submit(*again)
    assert values() == {
        "priority": 5, "share": 3.0, "max_running": None, "owner": None, "tags": ["x", "y"],
        "allow_versions": False, "needs.gpu_memory": 24.0, "needs.labels": [],
    }  # fmt: skip
    assert "priority stays 5, as `lrsearch set` has it" in notes
    submit("study.priority=2", "study.share=1", *again[1:])
    assert (values()["priority"], values()["share"]) == (2, 3.0)  # the first is new, not the other
    assert changes(query)[-1] == ["priority", 5, 2]


def test_the_owner_of_what_one_runs_is_set_once_for_all(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LRSEARCH_OWNER", "ada")
    submit()
    assert values()["owner"] == "ada"


def test_each_key_has_a_column_and_is_written_and_read_as_it_is_stored() -> None:
    row = StudyRow(study_id=1, name="one", config={}, record={}, needs={})
    put_service(row, ServiceSettings().stored())
    assert service_of(row) == ServiceSettings().stored()
    assert tuple(service_of(row)) == SERVICE_KEYS
    assert row.needs == {}  # what is not needed is not stored
    assert read_changes({"needs.labels": "a", "share": 2}) == {"needs.labels": ["a"], "share": 2.0}


@pytest.mark.parametrize("word", ["", "a b", "a,b", "[a]", "x=1", "'", "a\nb", "x" * 101, 3, None])
def test_tags_and_labels_are_words(word: object) -> None:
    with pytest.raises(ConfigErrors, match="tags"):
        read_changes({"tags": [word]})


def test_a_sweep_whose_needs_this_machine_lacks_is_not_begun(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrsearch.workers.abilities.smallest_gpu", lambda: None)
    code, _, error = command("+sweep=digits", "study.needs={gpu_memory: 40, labels: [a100]}")
    assert code == 2
    assert "study.needs: this machine cannot serve digits: it needs the label a100" in error
    assert "it needs a GPU of 40 GB, and this worker has no GPU" in error
    assert not Path("lrsearch.db").exists()


def test_what_trains_on_the_cpu_needs_no_gpu() -> None:
    with pytest.raises(ConfigErrors, match=r"train\.device=cpu no GPU is used"):
        load_settings(["+sweep=digits", "study.needs.gpu_memory=8", "train.device=cpu"])


# Choosing studies


def test_status_chooses_studies_by_owner_and_tags(command: Command) -> None:
    submit("study.name=one", "study.owner=ada", "study.tags=[nightly,vision]")
    submit("study.name=two", "study.owner=ada", "study.tags=[nightly]")
    submit("study.name=three", "study.tags=[vision]", "study.share=2", "study.max_running=4")

    def names(*options: str) -> list[str]:
        return [study["study"] for study in json.loads(command("status", "--json", *options)[1])]

    assert names("--owner", "ada") == ["one", "two"]
    assert names("--tag", "vision") == ["one", "three"]
    assert names("--tag", "vision", "--tag", "nightly") == ["one"]
    assert names("--owner", "ada", "--tag", "weekly") == names("--owner", "eve") == []
    assert (
        "no studies of eve with the tag weekly"
        in command("status", "--owner", "eve", "--tag", "weekly")[1]
    )
    code, out, _ = command("status", "--tag", "vision")
    assert code == 0
    assert "3 open; of ada; nightly, vision\n" in out
    assert "3 open; share 2; at most 4 at a time; vision\n" in out
    assert command("status", "one", "--tag", "vision")[0] == 2


def test_status_tells_programs_how_a_study_is_served(command: Command, digits: None) -> None:
    (study,) = json.loads(command("status", "--json")[1])
    assert (study["priority"], study["share"], study["tags"]) == (1, 1.0, ["x", "y"])
    assert study["needs"] == {"gpu_memory": 24.0, "labels": ["a100"]}
    line = command("status", "digits")[1]
    assert "needs a GPU of 24 GB, a100" in line
    assert "(on a machine with a GPU of 24 GB, a100)" in line
