"""The store: what comes back, what is refused, and what happens where nothing can be written."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import resource
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from lrsearch.checkpoints.format import Damaged, Identity, decode, encode
from lrsearch.checkpoints.locations import open_location
from lrsearch.checkpoints.store import NoCheckpoints, Store
from lrsearch.checkpoints.weights import load_weights
from lrsearch.errors import UserError

MINE = Identity("digits", "3")


def state(step: int) -> dict[str, Any]:
    return {"step": step, "x": torch.full((4,), float(step)), "words": ["a", (1, None)]}


def contents(step: int = 7, identity: Identity = MINE) -> bytes:
    return b"".join(encode(state(step), identity, step))


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder of this machine, and a file system that fsspec reaches."""
    if request.param == "folder":
        yield str(tmp_path / "store")
        return
    yield f"memory://{tmp_path.name}"
    system = fsspec.filesystem("memory")
    if system.exists(f"/{tmp_path.name}"):
        system.rm(f"/{tmp_path.name}", recursive=True)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


# The format


def test_a_state_comes_back_as_it_was() -> None:
    found = decode(contents(), MINE)
    assert torch.equal(found.pop("x"), torch.full((4,), 7.0))
    assert found == {"step": 7, "words": ["a", (1, None)]}


def test_the_first_line_says_what_a_file_is() -> None:
    first = contents(identity=Identity("my study", "3")).partition(b"\n")[0].decode()
    magic, version, digest, study, slot, step = first.split(" ")
    assert (magic, version, study, slot, step) == (
        "lrsearch-checkpoint", "1", "my%20study", "3", "7",
    )  # fmt: skip
    assert len(digest) == 64


def test_a_file_that_was_cut_anywhere_is_refused() -> None:
    whole = contents()
    for length in [*range(0, 200, 7), len(whole) // 2, len(whole) - 1]:
        with pytest.raises(Damaged):
            decode(whole[:length], MINE)


def test_a_single_changed_bit_anywhere_is_refused() -> None:
    whole = contents()
    for position in [*range(0, 200), *range(200, len(whole), 97), len(whole) - 1]:
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        with pytest.raises(Damaged):
            decode(bytes(changed), MINE)


@pytest.mark.parametrize("other", [Identity("digits", "4"), Identity("mnist", "3")])
def test_a_checkpoint_of_another_trial_is_refused(other: Identity) -> None:
    with pytest.raises(Damaged, match="another study or trial"):
        decode(contents(), other)


@pytest.mark.parametrize("data", [b"", b"\n", b"hello", b"\x80\x04" * 5000, b"a b c d e f\n"])
def test_what_is_not_a_checkpoint_is_refused(data: bytes) -> None:
    with pytest.raises(Damaged, match="not a checkpoint"):
        decode(data, MINE)


def test_a_later_format_is_told_apart_from_damage() -> None:
    later = contents().replace(b"lrsearch-checkpoint 1 ", b"lrsearch-checkpoint 2 ", 1)
    with pytest.raises(Damaged, match="another version"):
        decode(later, MINE)


def test_code_in_a_file_is_not_run_though_its_checksum_is_right(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harm"),)

    for file in (
        b"".join(encode({"step": 1, "x": Harm()}, MINE, 1)),
        _signed(pickle.dumps(Harm())),
    ):
        with pytest.raises(Damaged, match="torch cannot read it"):
            decode(file, MINE)
    assert not (tmp_path / "harm").exists()


def _signed(payload: bytes) -> bytes:
    """A payload with a header that fits it, as anyone can make."""
    from lrsearch.checkpoints import format as file_format

    digest = file_format._digest(MINE, 1, memoryview(payload))
    return MINE.header(digest, 1) + payload


# Saving and loading


def test_the_newest_state_is_loaded_and_two_files_are_kept(url: str) -> None:
    store = Store(url)
    slot = store.trial_slot("digits", 3)
    assert slot.load() is None
    for step in (5, 9, 100):
        slot.save(state(step))
    found = Store(url).trial_slot("digits", 3).load()
    assert found is not None
    assert found["step"] == 100
    assert store.location.names("digits/unit-000003") == [
        "step-000000000009.ckpt",
        "step-000000000100.ckpt",
    ]


def test_a_damaged_file_is_named_and_the_one_before_it_is_used(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    location, slot = Store(url).location, Store(url).trial_slot("digits", 3)
    slot.save(state(5))
    slot.save(state(9))
    newest = "digits/unit-000003/step-000000000009.ckpt"
    location.write(newest, [location.read(newest)[:-10]])
    again = Store(url).trial_slot("digits", 3)
    found = again.load()
    assert found is not None
    assert found["step"] == 5
    assert "step-000000000009.ckpt is not used: its checksum is wrong" in caplog.text
    again.save(state(7))  # the damaged one gives way, though its step is higher
    assert location.names("digits/unit-000003") == [
        "step-000000000005.ckpt",
        "step-000000000007.ckpt",
    ]


def test_a_foreign_file_is_refused(url: str, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(url)
    store.trial_slot("digits", 4).save(state(5))
    stolen = store.location.read("digits/unit-000004/step-000000000005.ckpt")
    store.location.write("digits/unit-000003/step-000000000005.ckpt", [stolen])
    assert store.trial_slot("digits", 3).load() is None
    assert "another study or trial" in caplog.text


def test_units_and_studies_do_not_meet(url: str) -> None:
    store = Store(url)
    for study, number in (("a", 1), ("a", 2), ("b", 1)):
        store.trial_slot(study, number).save(state(number))
    store.trial_slot("a", 1).clear()
    assert store.trial_slot("a", 1).load() is None
    assert store.trial_slot("a", 2).load() is not None
    store.delete("a")
    assert store.trial_slot("a", 2).load() is None
    assert store.trial_slot("b", 1).load() is not None
    store.delete("a")  # again does no harm
    store.trial_slot("a", 1).clear()


def test_a_name_that_looks_like_a_pattern_is_a_name(url: str) -> None:
    store = Store(url)
    for study in ("a*", "ab", "[ab]", "a?", "ä b"):
        store.trial_slot(study, 0).save(state(1))
    for study in ("a*", "[ab]", "a?"):
        store.delete(study)
    assert store.trial_slot("ab", 0).load() is not None
    assert store.trial_slot("ä b", 0).load() is not None
    assert store.trial_slot("a*", 0).load() is None


@pytest.mark.parametrize("study", ["", ".", "..", "a/b", "../a"])
def test_what_would_lead_out_of_the_store_is_no_study(url: str, study: str) -> None:
    with pytest.raises(ValueError, match="cannot name a folder"):
        Store(url).trial_slot(study, 0)
    with pytest.raises((ValueError, UserError)):
        Store(url).delete(study)


def test_what_a_dead_worker_was_writing_is_cleared_away(tmp_path: Path) -> None:
    slot = Store(str(tmp_path)).trial_slot("digits", 3)
    slot.save(state(5))
    left = tmp_path / "digits" / "unit-000003" / ".writing-123-abcd"
    left.write_bytes(b"half")
    found = Store(str(tmp_path)).trial_slot("digits", 3).load()
    assert found is not None
    assert not left.exists()


def test_the_folder_for_the_users_own_files_goes_with_the_unit(tmp_path: Path) -> None:
    slot = Store(str(tmp_path)).trial_slot("digits", 3)
    own = Path(slot.folder)
    assert own.is_relative_to(tmp_path / "digits" / "unit-000003")
    own.mkdir(parents=True)
    (own / "mine.pt").write_bytes(b"x")
    slot.save(state(1))
    found = slot.load()
    assert found is not None
    assert (own / "mine.pt").exists()
    slot.clear()
    assert not own.parent.exists()


def test_without_checkpoints_there_is_a_folder_all_the_same() -> None:
    nothing = NoCheckpoints()
    folder = Path(nothing.folder)
    assert folder.is_dir()
    assert nothing.folder == str(folder)
    nothing.save(state(1))
    assert nothing.load() is None
    nothing.clear()
    assert not folder.exists()


# Weights


def test_weights_are_files_of_safetensors(url: str) -> None:
    store = Store(url)
    assert store.kept("digits") == []
    for trial in (12, 3):
        store.keep_weights("digits", trial, {"w": torch.ones(2) * trial})
    assert store.kept("digits") == [3, 12]
    found = load_weights(store.weights("digits", 12))
    assert torch.equal(found["w"], torch.tensor([12.0, 12.0]))
    store.drop_weights("digits", [3, 99])
    assert store.kept("digits") == [12]
    store.trial_slot("digits", 0).clear()
    assert store.kept("digits") == [12]


# Where nothing can be written


class Clock:
    """Goes on by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_full_disk_is_one_warning_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOSPC, "No space left on device")

    store = Store(str(tmp_path))
    slot = store.trial_slot("digits", 3)
    slot.save(state(1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for step in (2, 3):
            slot.save(state(step))
        store.keep_weights("digits", 1, {"w": torch.ones(2)})
    warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert [one.getMessage() for one in warnings] == [
        f"nothing can be kept in {tmp_path}, training goes on: No space left on device"
    ]
    assert files(tmp_path) == ["digits/unit-000003/step-000000000001.ckpt"]


def test_a_file_that_the_system_refuses_in_its_middle_is_no_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The system itself ends the file here, not a stand-in."""
    slot = Store(str(tmp_path)).trial_slot("digits", 3)
    slot.save(state(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        slot.save({"step": 2, "x": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "training goes on: File too large" in caplog.text
    found = Store(str(tmp_path)).trial_slot("digits", 3).load()
    assert found is not None
    assert found["step"] == 1
    assert len(files(tmp_path)) == 1


def test_a_store_that_fails_slowly_is_left_alone_for_a_while(tmp_path: Path) -> None:
    clock = Clock()
    store = Store(str(tmp_path), clock)
    tried: list[float] = []

    def slow_failure() -> None:
        tried.append(clock.now)
        clock.now += 1.0
        raise TimeoutError("the store does not answer")

    for _ in range(200):
        store.attempt(slow_failure)
        clock.now += 1.0
    assert tried == [0.0, 51.0, 102.0, 153.0]  # a fiftieth of the time
    store.attempt(slow_failure, always=True)
    assert len(tried) == 5


def test_a_store_that_cannot_be_made_does_not_stop_a_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = Store(str(tmp_path / "file" / "store"))
    slot = store.trial_slot("digits", 3)
    assert slot.load() is None
    slot.save(state(1))
    slot.clear()
    store.keep_weights("digits", 1, {"w": torch.ones(2)})
    assert store.kept("digits") == []
    store.drop_weights("digits", [1])
    assert len(caplog.records) == 1


# Probing, and the URL


def test_a_probe_leaves_nothing(url: str) -> None:
    store = Store(url)
    assert store.probe() >= 0
    assert store.location.names("") == []


def test_a_probe_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = Store(str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"storage.checkpoints: .*file cannot be written and read"):
        store.probe()


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    Store(f"file://{tmp_path}/store").trial_slot("digits", 3).save(state(1))
    assert (tmp_path / "store" / "digits").is_dir()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense://bucket/x", "nonsense://bucket/x cannot be used"),
        ("gs://bucket/x", "pip install gcsfs"),
        ("s3://bucket/x", "pip install s3fs"),
        ("sftp://me:secret@host/x", r"sftp://me:\*\*\*@host/x needs another .* install paramiko"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_to_install(
    url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(protocol: str) -> Any:
        raise ImportError(f"a package for {protocol} is missing")

    if not url.startswith("nonsense"):  # it may be installed where the tests run
        monkeypatch.setattr(fsspec.core, "get_filesystem_class", missing)
    with pytest.raises(UserError, match=said) as raised:
        open_location(url)
    assert "secret" not in str(raised.value)
