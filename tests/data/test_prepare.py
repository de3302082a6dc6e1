"""Preparing data: cached without torch, split by seed, told apart by fingerprint, or stood in."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lrsearch.data.parts import Parts, TensorPart, open_parts
from lrsearch.data.prepare import prepare, validation_size
from lrsearch.data.spec import DataInfo, DataSpec
from lrsearch.errors import UserError

REPO = Path(__file__).resolve().parent.parent.parent
Tiny = Callable[..., Path]
Listing = Callable[[Path], dict[str, tuple[int, int]]]

SCRIPT = """
import dataclasses, gzip, json, sys
from pathlib import Path
from lrsearch.data.prepare import prepare
from lrsearch.data.sources import SOURCES
from lrsearch.data.spec import DataSpec

name, root, cache, preload = sys.argv[1:]
if preload:
    import torchvision
    # The small MNIST of the fixture tiny_mnist is whole for the registry here, too.
    archives = Path(root).glob("MNIST/raw/*.gz")
    sizes = {path.stem: len(gzip.decompress(path.read_bytes())) for path in archives}
    files = dataclasses.replace(SOURCES[name].files, unpacked=sizes)
    SOURCES.components[name] = dataclasses.replace(SOURCES[name], files=files, validation=10)
print("ready", flush=True)
input()
info = prepare(DataSpec(name, root=Path(root), cache=Path(cache)))
heavy = [name for name in ("torch", "torchvision", "numpy", "sklearn") if name in sys.modules]
print(json.dumps([info.to_json(), heavy]))
"""


def start(name: str, root: Path, cache: Path, preload: bool) -> subprocess.Popen[str]:
    """Another process, which prepares the data as soon as it reads a line."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, name, str(root), str(cache), "1" if preload else ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPO,
    )


def at_once(*processes: subprocess.Popen[str]) -> list[tuple[DataInfo, list[str]]]:
    """What the processes found, let go when all were ready."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = []
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        plain, heavy = json.loads(output)
        answers.append((DataInfo.from_json(plain), heavy))
    return answers


def tensors(info: DataInfo) -> dict[str, torch.Tensor]:
    assert info.file is not None
    found: dict[str, torch.Tensor] = torch.load(info.file, mmap=True, weights_only=True)
    return found


@dataclasses.dataclass(frozen=True)
class Prepared:
    """MNIST, prepared from a root with archives only."""

    root: Path
    cache: Path
    info: DataInfo
    before: dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def mnist(mnist_root: Path, listing: Listing, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    root = tmp_path_factory.mktemp("root")
    cache = tmp_path_factory.mktemp("mnist-cache")
    (root / "MNIST" / "raw").mkdir(parents=True)  # writable: left alone by choice
    for archive in (mnist_root / "MNIST" / "raw").glob("*.gz"):
        shutil.copyfile(archive, root / "MNIST" / "raw" / archive.name)
    before = listing(root)
    return Prepared(root, cache, prepare(DataSpec("mnist", root=root, cache=cache)), before)


@pytest.mark.slow
def test_two_processes_prepare_the_same_data_at_once(tiny_mnist: Tiny, tmp_path: Path) -> None:
    root, cache = tiny_mnist(tmp_path / "root"), tmp_path / "cache"
    (first, _), (second, _) = at_once(*(start("mnist", root, cache, True) for _ in range(2)))
    assert first == second
    assert first.n_train == 50
    assert first.file is not None
    left = sorted(path.name for path in cache.iterdir() if path.suffix != ".json")
    assert left == ["checked", first.file.name, "raw"]
    assert len(tensors(first)["test_y"]) == 20


def test_a_root_with_archives_only_is_left_untouched(mnist: Prepared, listing: Listing) -> None:
    assert listing(mnist.root) == mnist.before


def test_mnist_has_50000_10000_and_10000_samples(mnist: Prepared) -> None:
    info = mnist.info
    assert (info.n_train, info.n_validation, info.n_test) == (50_000, 10_000, 10_000)
    assert (info.input_shape, info.n_classes, info.n_outputs) == ((1, 28, 28), 10, 10)
    assert (info.name, info.wanted, info.fallback_reason) == ("mnist", "mnist", None)
    sizes = {name: len(one) for name, one in tensors(info).items() if name.endswith("_y")}
    assert sizes == {"train_y": 50_000, "validation_y": 10_000, "test_y": 10_000}


def test_the_train_part_of_mnist_has_mean_0_and_deviation_1(mnist: Prepared) -> None:
    train = tensors(mnist.info)["train_x"].flatten()
    means = torch.stack([train[i::2].mean(dtype=torch.float64) for i in range(2)])
    squares = torch.stack([train[i::2].square().mean(dtype=torch.float64) for i in range(2)])
    assert float(means.mean()) == pytest.approx(0, abs=1e-5)
    assert float(squares.mean()) == pytest.approx(1, abs=1e-5)


def test_a_cache_hit_imports_neither_torch_nor_torchvision(mnist: Prepared) -> None:
    ((info, heavy),) = at_once(start("mnist", mnist.root, mnist.cache, False))
    assert heavy == []
    assert info == mnist.info


def test_a_cache_hit_of_data_without_files_imports_neither_torch_nor_sklearn(
    tmp_path: Path,
) -> None:
    wanted = prepare(DataSpec("linear", cache=tmp_path))
    ((info, heavy),) = at_once(start("linear", tmp_path, tmp_path, False))
    assert heavy == []
    assert info == wanted


def spec(tmp_path: Path, name: str = "linear", **changes: Any) -> DataSpec:
    known: dict[str, Any] = {"root": tmp_path / "root", "cache": tmp_path / "cache"}
    return DataSpec(name, **(known | changes))


def test_the_same_seed_gives_the_same_split_and_another_one_another(tmp_path: Path) -> None:
    first, again, other = (
        tensors(prepare(spec(tmp_path, split_seed=seed, cache=tmp_path / cache)))
        for seed, cache in [(0, "a"), (0, "b"), (1, "a")]
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["validation_x"], other["validation_x"])
    assert torch.equal(first["test_x"], other["test_x"]), "the test part is not drawn"


def test_no_sample_is_in_two_parts(tiny_mnist: Tiny, tmp_path: Path) -> None:
    tiny_mnist(tmp_path / "root")
    found = tensors(prepare(spec(tmp_path, "mnist")))
    parts = [
        {row.numpy().tobytes() for row in found[f"{name}_x"]}
        for name in ("train", "validation", "test")
    ]
    assert [len(part) for part in parts] == [50, 10, 20]
    assert len(set.union(*parts)) == 80


def test_the_fingerprint_does_not_depend_on_folders(tiny_mnist: Tiny, tmp_path: Path) -> None:
    infos = []
    for name in ("one", "two"):
        root = tiny_mnist(tmp_path / name / "root")
        infos.append(prepare(spec(tmp_path / name, "mnist", root=root)))
    assert infos[0].fingerprint == infos[1].fingerprint
    assert infos[0].file != infos[1].file


def test_the_fingerprint_changes_with_the_data(tiny_mnist: Tiny, tmp_path: Path) -> None:
    prints = set()
    for seed in (1, 2):
        root = tiny_mnist(tmp_path / str(seed) / "root", seed=seed)
        prints.add(prepare(spec(tmp_path / str(seed), "mnist", root=root)).fingerprint)
    assert len(prints) == 2


@pytest.mark.parametrize(
    "changes", [{"split_seed": 1}, {"validation": 0.5}, {"arguments": {"noise": 0.1}}]
)
def test_the_fingerprint_changes_with_what_the_parts_depend_on(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    plain = prepare(spec(tmp_path))
    assert prepare(spec(tmp_path, **changes)).fingerprint != plain.fingerprint
    assert prepare(spec(tmp_path)) == plain, "both are kept in one cache"


def test_a_changed_raw_file_is_noticed(tiny_mnist: Tiny, tmp_path: Path) -> None:
    root = tiny_mnist(tmp_path / "root", seed=1)
    first = prepare(spec(tmp_path, "mnist"))
    shutil.rmtree(root)
    shutil.rmtree(tmp_path / "cache" / "raw")
    tiny_mnist(tmp_path / "root", seed=2)
    assert prepare(spec(tmp_path, "mnist")).fingerprint != first.fingerprint


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"file": 3, "input_shape": []}'])
def test_a_damaged_entry_of_the_cache_is_made_anew(tmp_path: Path, damage: str) -> None:
    wanted = prepare(spec(tmp_path))
    (sidecar,) = (tmp_path / "cache").glob("*.json")
    sidecar.write_text(damage)
    assert prepare(spec(tmp_path)) == wanted
    assert DataInfo.from_json(json.loads(sidecar.read_text())) == wanted


def test_a_deleted_file_of_tensors_is_made_anew(tmp_path: Path) -> None:
    info = prepare(spec(tmp_path))
    assert info.file is not None
    info.file.unlink()
    assert prepare(spec(tmp_path)) == info
    assert info.file.exists()


def test_regression_data_have_no_classes_and_one_target(tmp_path: Path) -> None:
    info = prepare(spec(tmp_path, arguments={"n": 50, "features": 3}))
    assert (info.n_classes, info.n_targets, info.n_outputs) == (None, 1, 1)
    assert (info.n_train, info.n_validation, info.n_test) == (50, 250, 250)
    assert info.input_shape == (3,)


@pytest.mark.usefixtures("no_mirror")
def test_digits_stand_in_for_mnist_without_a_network(tmp_path: Path) -> None:
    info = prepare(spec(tmp_path, "mnist", fallback="digits", validation=5000))
    assert (info.name, info.wanted) == ("digits", "mnist")
    assert info.input_shape == (1, 28, 28)
    assert info.n_train + info.n_validation + info.n_test == 1797
    assert "refused" in str(info.fallback_reason)
    train = tensors(info)["train_x"]
    assert float(train.mean()) == pytest.approx(0, abs=1e-4)
    assert train.shape == (info.n_train, 1, 28, 28)


@pytest.mark.usefixtures("no_mirror")
def test_nothing_stands_in_when_the_data_are_there(tiny_mnist: Tiny, tmp_path: Path) -> None:
    tiny_mnist(tmp_path / "root")
    info = prepare(spec(tmp_path, "mnist", fallback="digits"))
    assert (info.name, info.fallback_reason) == ("mnist", None)


@pytest.mark.usefixtures("no_mirror")
def test_without_network_and_fallback_the_user_is_told_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        prepare(spec(tmp_path, "mnist"))
    message = str(caught.value)
    for kind in ("train", "t10k"):
        assert f"{kind}-images-idx3-ubyte.gz" in message
        assert f"{kind}-labels-idx1-ubyte.gz" in message
    assert str(tmp_path / "root" / "MNIST" / "raw") in message
    for way in ("data.root=", "LRSEARCH_DATA=", "data.fallback=digits", "refused"):
        assert way in message
    assert not (tmp_path / "root").exists()


@pytest.mark.usefixtures("no_mirror")
def test_a_truncated_archive_is_refused_with_the_file_named(
    tiny_mnist: Tiny, tmp_path: Path
) -> None:
    archive = tiny_mnist(tmp_path / "root") / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    archive.write_bytes(archive.read_bytes()[:500])
    with pytest.raises(UserError, match=r"Error downloading t10k-images-idx3-ubyte\.gz"):
        prepare(spec(tmp_path, "mnist"))


@pytest.mark.parametrize(
    ("wanted", "size"), [(10, 10), (0.25, 25), (0.999, None), (1, 1), (99, 99), (0.01, 1)]
)
def test_validation_is_a_number_of_samples_or_a_share(wanted: float, size: int | None) -> None:
    if size is None:
        with pytest.raises(UserError):
            validation_size(wanted, 100)
    else:
        assert validation_size(wanted, 100) == size


@pytest.mark.parametrize("wanted", [0, 100, 101, -1, -0.5, 0.001])
def test_a_validation_part_that_leaves_no_two_parts_is_refused(wanted: float) -> None:
    with pytest.raises(UserError, match=f"data.validation: {wanted:g} of 100 samples"):
        validation_size(wanted, 100)


def test_what_was_found_survives_a_round_trip_through_json(tmp_path: Path) -> None:
    info = prepare(spec(tmp_path, "digits"))
    streamed = dataclasses.replace(info, file=None, fallback_reason="why", n_classes=None)
    for one in (info, streamed):
        assert DataInfo.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_what_is_not_the_json_of_data_is_refused(tmp_path: Path) -> None:
    plain = prepare(spec(tmp_path)).to_json()
    with pytest.raises(KeyError):
        DataInfo.from_json({})
    with pytest.raises(TypeError):
        DataInfo.from_json(plain | {"more": 1})


def opened(tmp_path: Path) -> tuple[DataInfo, Parts]:
    wanted = spec(tmp_path)
    info = prepare(wanted)
    return info, open_parts(wanted, info)


def test_the_parts_are_opened_as_they_were_prepared(tmp_path: Path) -> None:
    info, parts = opened(tmp_path)
    kept = tensors(info)
    for name in ("train", "validation", "test"):
        part = getattr(parts, name)
        assert isinstance(part, TensorPart)
        assert len(part) == getattr(info, f"n_{name}")
        assert torch.equal(part.x, kept[f"{name}_x"])
        assert torch.equal(part.y, kept[f"{name}_y"])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no list of mappings here")
def test_the_parts_lie_in_the_mapped_file_and_are_not_copied(tmp_path: Path) -> None:
    info, first = opened(tmp_path)
    second = open_parts(spec(tmp_path), info)
    ranges = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(info.file)):
            low, high = line.split()[0].split("-")
            ranges.append(range(int(low, 16), int(high, 16)))
    for parts in (first, second):
        assert isinstance(parts.train, TensorPart)
        assert any(parts.train.x.data_ptr() in one for one in ranges)


def test_what_one_worker_overwrites_no_other_sees(tmp_path: Path) -> None:
    info, first = opened(tmp_path)
    assert isinstance(first.train, TensorPart)
    first.train.x.fill_(7)
    second = open_parts(spec(tmp_path), info)
    assert isinstance(second.train, TensorPart)
    assert not (second.train.x == 7).any()


def test_a_part_goes_to_a_device_as_a_whole(tmp_path: Path) -> None:
    _, parts = opened(tmp_path)
    assert isinstance(parts.train, TensorPart)
    moved = parts.train.to(torch.device("meta"))
    assert (moved.x.device.type, moved.y.device.type) == ("meta", "meta")
    assert len(moved) == len(parts.train)
