"""The cache is not trusted: content is checked, damage is told and repaired, disks are full."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import lrsearch.data.cache as cache
from lrsearch.data.cache import DamagedCache, check_folder, load_tensors, save_tensors
from lrsearch.data.parts import TensorPart, open_parts
from lrsearch.data.prepare import prepare
from lrsearch.data.spec import DataSpec
from lrsearch.errors import UserError

TENSORS = {"train_x": torch.randn(50, 4), "train_y": torch.arange(50)}
FINGERPRINT = cache.fingerprint_of(TENSORS)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "cache" / "data.pt"
    save_tensors(found, TENSORS, FINGERPRINT)
    return found


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fingerprints that were computed."""
    found: list[str] = []
    whole = cache.fingerprint_of

    def noting(tensors: dict[str, torch.Tensor]) -> str:
        found.append(whole(tensors))
        return found[-1]

    monkeypatch.setattr(cache, "fingerprint_of", noting)
    return found


def shift_labels(file: Path) -> None:
    """Other labels, in a file of the same size, inode and time of modification."""
    state = file.stat()
    labels = torch.load(file, weights_only=True)["train_y"]
    content, old = file.read_bytes(), labels.numpy().tobytes()
    assert old in content
    file.write_bytes(content.replace(old, labels.roll(1).numpy().tobytes()))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def of_something_else(file: Path) -> None:
    torch.save([1, 2], file)


def with_code(file: Path) -> None:
    torch.save({"train_x": Path("x")}, file)


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def an_endless_device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def a_link_to_a_folder(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.parent)


NO_FILES = [a_pipe, an_endless_device, a_link_to_a_folder]
DAMAGE = [shift_labels, cut_off, emptied, of_something_else, with_code, Path.unlink, *NO_FILES]


def test_what_was_written_is_loaded_and_is_hashed_no_more(file: Path, hashed: list[str]) -> None:
    found = load_tensors(file, FINGERPRINT)
    assert all(torch.equal(found[name], one) for name, one in TENSORS.items())
    assert not hashed


def test_another_machine_hashes_once(
    file: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.node", lambda: "another")
    for _ in range(3):
        load_tensors(file, FINGERPRINT)
    assert hashed == [FINGERPRINT]


def test_a_touched_file_is_hashed_again(file: Path, hashed: list[str]) -> None:
    os.utime(file)
    for _ in range(2):
        load_tensors(file, FINGERPRINT)
    assert hashed == [FINGERPRINT]


def test_a_folder_that_others_write_to_does_not_say_what_was_checked(
    file: Path, hashed: list[str], home: Path
) -> None:
    file.parent.chmod(0o777)
    for _ in range(2):
        load_tensors(file, FINGERPRINT)
    assert hashed == [FINGERPRINT]
    (kept,) = (home / ".cache").rglob("*.json")
    assert kept.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_noticed(file: Path, damage: Any) -> None:
    damage(file)
    with pytest.raises(DamagedCache, match=str(file)):
        load_tensors(file, FINGERPRINT)


@pytest.mark.parametrize("damage", DAMAGE)
def test_saving_repairs_what_is_damaged(file: Path, damage: Any) -> None:
    damage(file)
    save_tensors(file, TENSORS, FINGERPRINT)
    assert torch.equal(load_tensors(file, FINGERPRINT)["train_y"], TENSORS["train_y"])


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_data_are_told_and_made_anew_from_the_source(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Any
) -> None:
    spec = DataSpec("linear", cache=tmp_path / "cache")
    info = prepare(spec)
    assert info.file is not None
    wanted = torch.load(info.file, weights_only=True)
    damage(info.file)
    with caplog.at_level(logging.WARNING):
        parts = open_parts(spec, info)
    assert isinstance(parts.train, TensorPart)
    assert torch.equal(parts.train.y, wanted["train_y"])
    assert (f"{info.file} are damaged" in caplog.text) == (damage is not Path.unlink)
    assert prepare(spec) == info
    caplog.clear()
    open_parts(spec, info)
    assert not caplog.records, "it is whole again"


@pytest.mark.parametrize("damage", NO_FILES)
def test_an_entry_that_is_no_file_is_made_anew(tmp_path: Path, damage: Any) -> None:
    spec = DataSpec("linear", cache=tmp_path)
    info = prepare(spec)
    (entry,) = tmp_path.glob("linear-*.json")
    damage(entry)
    assert prepare(spec) == info
    assert entry.is_file()
    assert not entry.is_symlink()


@pytest.mark.parametrize("ending", ["json", "pt"])
def test_a_folder_in_the_place_of_a_file_is_to_be_removed(tmp_path: Path, ending: str) -> None:
    spec = DataSpec("linear", cache=tmp_path)
    info = prepare(spec)
    (path,) = tmp_path.glob(f"linear-*.{ending}")
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=f"{path} is a folder.*remove that folder"):
        open_parts(spec, prepare(spec))
    path.rmdir()
    assert prepare(spec) == info
    open_parts(spec, info)


def test_damaged_data_whose_source_has_changed_are_refused(tmp_path: Path) -> None:
    spec = DataSpec("linear", cache=tmp_path / "cache")
    info = prepare(spec)
    assert info.file is not None
    emptied(info.file)
    other = DataSpec("linear", arguments={"seed": 1}, cache=tmp_path / "cache")
    with pytest.raises(UserError, match="the source has changed"):
        open_parts(other, info)


def test_an_entry_names_no_file_outside_of_its_folder(tmp_path: Path) -> None:
    spec = DataSpec("linear", cache=tmp_path / "cache")
    info = prepare(spec)
    (tmp_path / "cache").rename(tmp_path / "moved")
    moved = DataSpec("linear", cache=tmp_path / "moved")
    found = prepare(moved)
    assert found.fingerprint == info.fingerprint
    assert found.file is not None
    assert found.file.parent == tmp_path / "moved"


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} - {"lock"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_nothing_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    spec = DataSpec("linear", cache=tmp_path / "cache")
    with pytest.raises(UserError, match=rf"{os.strerror(code)}.*MiB are needed.*data\.cache="):
        prepare(spec)
    assert not files_in(tmp_path / "cache")


def test_what_a_killed_process_has_left_is_removed(file: Path) -> None:
    old, new = (file.with_name(f".{file.name}.{name}") for name in ("old", "new"))
    for one in (old, new):
        one.write_bytes(b"x")
    os.utime(old, (0, 0))
    file.unlink()
    save_tensors(file, TENSORS, FINGERPRINT)
    assert (old.exists(), new.exists()) == (False, True), "another process may be writing"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=r"data\.cache: cannot write"):
        prepare(DataSpec("linear", cache=tmp_path / "taken" / "cache"))


def test_the_default_folder_is_the_users_own(home: Path) -> None:
    spec = DataSpec("linear")
    prepare(spec)
    folder = home / ".cache" / "lrsearch"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    prepare(spec)
    assert folder.stat().st_mode & 0o022 == 0, "nobody else may change what is in it"


def test_a_default_folder_of_another_user_is_refused_unless_it_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(DataSpec("linear"))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UserError, match=r"another user.*data\.cache="):
        prepare(DataSpec("linear"))
    check_folder(tmp_path)
    assert prepare(DataSpec("linear", cache=tmp_path / "named")).n_train == 1000


def test_a_named_folder_keeps_its_rights(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o775)
    prepare(DataSpec("linear", cache=folder))
    assert folder.stat().st_mode & 0o777 == 0o775


def own_data() -> Any:
    x = torch.arange(20.0).view(10, 2)
    return (x, torch.arange(10) % 2), (x, torch.arange(10) % 2)


def test_own_data_are_not_taken_from_a_cache_that_holds_others(tmp_path: Path) -> None:
    target = f"{__name__}.own_data"
    spec = DataSpec(target, target=target, cache=tmp_path)
    info = prepare(spec)
    assert info.file is not None
    shift_labels(info.file)
    again = prepare(spec)
    assert again == info
    parts = open_parts(spec, again)
    assert isinstance(parts.train, TensorPart)
    assert torch.equal(parts.train.y, own_data()[0][1])
