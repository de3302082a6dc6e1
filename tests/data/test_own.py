"""The user's own data: what it may be, in memory or streamed, and what is said of the rest."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import scipy.sparse
import torch
from torch.utils.data import Dataset, TensorDataset

from lrsearch.data.own import as_targets
from lrsearch.data.parts import StreamedPart, TensorPart, open_parts
from lrsearch.data.prepare import prepare
from lrsearch.data.spec import DataInfo, DataSpec
from lrsearch.errors import UserError

Pair = tuple[torch.Tensor, torch.Tensor]
Make = Callable[..., DataSpec]


def given(parts: Any) -> Any:
    """The user's function: returns what the test wants."""
    return parts


def no_arguments() -> tuple[Pair, Pair]:
    """The user's function of two parts."""
    return classes(6), classes(4)


def classes(n: int, high: int = 3) -> Pair:
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, 2, generator=generator), torch.arange(n) % high


def numbers(n: int, *shape: int) -> Pair:
    return torch.randn(n, 2), torch.randn(n, *shape)


def labels(n: int, *shape: int) -> Pair:
    """Zeros and ones as floats."""
    return torch.randn(n, 2), (torch.randn(n, *shape) > 0).float()


class Items(Dataset[Any]):
    """A Dataset of given items, which counts how often one is read."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.reads = 0
        self.n_classes = 1 + max((y for _, y in items if isinstance(y, int)), default=0)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.reads += 1
        return self.items[index]


@pytest.fixture
def own(tmp_path: Path) -> Make:
    """Data of the user's that consist of these parts."""

    def make(*parts: Any, **changes: Any) -> DataSpec:
        target = f"{__name__}.given"
        arguments = {"parts": parts}
        return DataSpec(target, target=target, arguments=arguments, cache=tmp_path, **changes)

    return make


def tensors(spec: DataSpec, info: DataInfo) -> dict[str, TensorPart]:
    """The parts, all in memory."""
    parts = open_parts(spec, info)
    found = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    kept = {name: part for name, part in found.items() if part is not None}
    assert all(isinstance(part, TensorPart) for part in kept.values())
    return kept  # type: ignore[return-value]


@pytest.mark.parametrize("n_parts", [2, 3])
def test_pairs_of_tensors_become_the_parts(own: Make, n_parts: int) -> None:
    given_parts = [classes(9), classes(5), classes(4)][:n_parts]
    spec = own(*given_parts)
    info = prepare(spec)
    sizes = (info.n_train, info.n_validation, info.n_test)
    assert sizes == (9, 5, 4 if n_parts == 3 else 0)
    assert (info.input_shape, info.n_classes, info.n_outputs) == ((2,), 3, 3)
    assert (info.name, info.wanted) == (spec.target, spec.target)
    found = tensors(spec, info)
    assert len(found) == n_parts
    for part, (x, y) in zip(found.values(), given_parts, strict=True):
        assert torch.equal(part.x, x)
        assert torch.equal(part.y, y)


def test_a_function_without_arguments_is_called(tmp_path: Path) -> None:
    target = f"{__name__}.no_arguments"
    info = prepare(DataSpec(target, target=target, cache=tmp_path))
    assert (info.n_train, info.n_validation) == (6, 4)


def test_the_most_classes_of_any_part_count(own: Make) -> None:
    assert prepare(own(classes(9, high=3), classes(9, high=5))).n_classes == 5


def test_the_fingerprint_is_that_of_the_data(own: Make) -> None:
    first, again = (prepare(own(classes(9), classes(5))).fingerprint for _ in range(2))
    assert first == again
    assert prepare(own(classes(9), classes(6))).fingerprint != first


def test_float_targets_of_one_dimension_become_a_column(own: Make) -> None:
    (x, y), validation = numbers(6), numbers(4)
    spec = own((x, y.double()), validation)
    info = prepare(spec)
    assert (info.n_classes, info.n_targets, info.n_outputs) == (None, 1, 1)
    part = tensors(spec, info)["train"]
    assert part.y.shape == (6, 1)
    assert torch.equal(part.y[:, 0], y.double())


def test_several_numbers_for_a_sample_are_several_outputs(own: Make) -> None:
    info = prepare(own(numbers(6, 3), numbers(4, 3)))
    assert (info.n_targets, info.n_outputs) == (3, 3)


def test_small_integers_are_classes(own: Make) -> None:
    y = torch.tensor([0, 1, 0, 1, 0, 1], dtype=torch.uint8)
    spec = own((torch.zeros(6, 2), y), (torch.zeros(6, 2), y.numpy()))
    part = tensors(spec, prepare(spec))["train"]
    assert part.y.dtype == torch.int64
    assert part.y.tolist() == y.tolist()


KINDS = {
    torch.uint8: "integers",
    torch.int64: "integers",
    torch.bool: "truth values",
    torch.float64: "floating-point numbers",
    torch.complex64: "complex numbers",
    torch.complex128: "complex numbers",
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("given_as", ["tensors", "arrays", "datasets", "datasets of arrays"])
def test_inputs_are_kept_in_the_type_that_they_have(
    own: Make, kind: torch.dtype, given_as: str
) -> None:
    x, y = (2**24 + torch.arange(8)).view(4, 2).to(kind), torch.arange(4) % 2
    pair: Any = {
        "tensors": (x, y),
        "arrays": (x.numpy(), y.numpy()),
        "datasets": TensorDataset(x, y),
        "datasets of arrays": Items(list(zip(x.numpy(), y.tolist(), strict=True))),
    }[given_as]
    spec = own(pair, pair)
    info = prepare(spec)
    part = tensors(spec, info)["train"]
    assert part.x.dtype == kind
    assert torch.equal(part.x, x)
    assert info.inputs_are == KINDS[kind]


def test_complex_targets_are_numbers(own: Make) -> None:
    x, y = torch.zeros(4, 2), torch.full((4,), 1 + 2j)
    spec = own((x, y), (x, y))
    info = prepare(spec)
    assert (info.n_classes, info.n_targets) == (None, 1)
    assert torch.equal(tensors(spec, info)["train"].y, y[:, None])


def test_floats_of_other_precision_fit_together_and_integers_do_not(own: Make) -> None:
    x, y = classes(4)
    assert prepare(own((x.numpy().astype("float64"), y), (x, y))).n_train == 4
    with pytest.raises(UserError, match=r"inputs of its parts differ: .*int64.*float32"):
        prepare(own((x.long(), y), (x, y)))


def test_targets_are_classes_or_columns_of_numbers() -> None:
    assert as_targets(torch.tensor([True, False])).tolist() == [1, 0]
    assert as_targets(torch.zeros(3, dtype=torch.float64)).shape == (3, 1)
    assert as_targets(torch.zeros(3, 2)).shape == (3, 2)


NAN = float("nan")


@pytest.mark.parametrize("in_memory", ["auto", "never"])
@pytest.mark.parametrize("bad", [NAN, float("inf"), complex(0, NAN)])
def test_nan_and_infinity_are_found_when_the_data_are_read(
    own: Make, in_memory: str, bad: complex
) -> None:
    x, y = torch.zeros(6, 2), torch.zeros(6)
    x = x.to(torch.complex64) if isinstance(bad, complex) else x
    broken = x.clone()
    broken[2, 1] = broken[4, 0] = bad
    datasets = (TensorDataset(x, y), TensorDataset(broken, y))
    message = r"NaN or infinity among the inputs of its validation part, in 2 of 6 samples.*index 2"
    with pytest.raises(UserError, match=message):
        prepare(own(*datasets, in_memory=in_memory))


def test_nan_among_the_targets_is_found(own: Make) -> None:
    x, y = torch.zeros(6, 2), torch.zeros(6)
    broken = y.clone()
    broken[5] = NAN
    with pytest.raises(UserError, match=r"targets of its train part, in 1 of 6 samples.*index 5"):
        prepare(own((x, broken), (x, y)))


@pytest.mark.parametrize("in_memory", ["auto", "always"])
def test_datasets_are_read_into_memory_once(own: Make, in_memory: str) -> None:
    x, y = classes(9)
    train = Items([(one, int(label)) for one, label in zip(x, y, strict=True)])
    spec = own(train, TensorDataset(*classes(5)), in_memory=in_memory)
    info = prepare(spec)
    assert info.file is not None
    assert (info.n_train, info.n_validation, info.n_classes) == (9, 5, 3)
    reads = train.reads
    part = tensors(spec, info)["train"]
    assert torch.equal(part.x, x)
    assert torch.equal(part.y, y)
    assert train.reads == reads, "opened from the cache"


def test_datasets_and_the_same_tensors_are_the_same_data(own: Make) -> None:
    pairs = [numbers(6), numbers(4)]
    datasets = [TensorDataset(*pair) for pair in pairs]
    assert prepare(own(*pairs)).fingerprint == prepare(own(*datasets)).fingerprint


def test_datasets_are_streamed_when_they_must_not_be_in_memory(own: Make, tmp_path: Path) -> None:
    train = Items([(torch.full((2,), float(i)), i % 4) for i in range(300)])
    spec = own(train, classes(5), TensorDataset(*classes(7)), in_memory="never")
    info = prepare(spec)
    assert info.file is None
    assert not list(tmp_path.iterdir()), "nothing is cached"
    assert 0 < train.reads < 300
    assert (info.n_train, info.n_validation, info.n_test) == (300, 5, 7)
    assert (info.input_shape, info.n_classes) == ((2,), 4)
    parts = open_parts(spec, info)
    assert parts.test is not None
    for part, n in ((parts.train, 300), (parts.validation, 5), (parts.test, 7)):
        assert isinstance(part, StreamedPart)
        assert len(part) == n
    assert isinstance(parts.train, StreamedPart)
    assert parts.train.dataset is train
    assert isinstance(parts.validation, StreamedPart)
    assert torch.equal(parts.validation.dataset[1][0], classes(5)[0][1])


def test_streamed_data_of_two_parts_have_no_test_part(own: Make) -> None:
    spec = own(Items([(torch.zeros(2), 0.5)] * 3), numbers(2), in_memory="never")
    assert open_parts(spec, prepare(spec)).test is None


def test_datasets_too_large_for_memory_are_streamed(
    own: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Items([(torch.zeros(2), 0)] * 5)
    monkeypatch.setattr("lrsearch.data.own._LARGEST", 5 * (8 + 8))
    assert prepare(own(data, data)).file is None
    assert prepare(own(data, data, in_memory="always")).file is not None
    monkeypatch.setattr("lrsearch.data.own._LARGEST", 5 * (8 + 8) + 1)
    assert prepare(own(data, data)).file is not None


def test_streamed_numbers_are_numbers_and_streamed_classes_may_be_declared(own: Make) -> None:
    data = Items([(torch.zeros(2), torch.zeros(3))] * 5)
    info = prepare(own(data, data, in_memory="never"))
    assert (info.n_classes, info.n_targets) == (None, 3)
    declared = Items([(torch.zeros(2), 0)] * 5)
    declared.n_classes = 12  # type: ignore[attr-defined]
    assert prepare(own(declared, declared, in_memory="never")).n_classes == 12


def test_the_fingerprint_of_streamed_data_changes_with_items_and_length(own: Make) -> None:
    def found(value: float, n: int) -> str:
        data = Items([(torch.full((2,), value), 0)] * n)
        return prepare(own(data, data, in_memory="never")).fingerprint

    assert found(1.0, 100) == found(1.0, 100)
    assert len({found(1.0, 100), found(2.0, 100), found(1.0, 101)}) == 3


class Augmented(Dataset[Any]):
    """Points with noise from one of the generators that a user may draw from."""

    def __init__(self, drawn_by: str, seed: int = 0, n: int = 100) -> None:
        self.x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
        self.y = (self.x[:, 0] > 0).long()
        self.drawn_by = drawn_by
        self.own = numpy.random.default_rng()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        noise = {
            "torch": lambda: float(torch.randn(())),
            "numpy": lambda: float(numpy.random.normal()),
            "random": random.random,
            "own": self.own.normal,
        }[self.drawn_by]
        return self.x[index] + 0.1 * float(noise()), self.y[index]


@pytest.mark.parametrize("drawn_by", ["torch", "numpy", "random", "own"])
def test_datasets_that_draw_at_random_have_a_fingerprint(own: Make, drawn_by: str) -> None:
    def found(**changes: Any) -> str:
        data = Augmented(drawn_by, **changes)
        return prepare(own(data, data, in_memory="never")).fingerprint

    first = found()
    random.random(), numpy.random.rand(), torch.rand(1)
    assert found() == first
    assert len({first, found(seed=1), found(n=101)}) == 3


def test_datasets_that_draw_from_the_global_generators_are_read_alike_into_memory(
    own: Make,
) -> None:
    data = Augmented("numpy")
    assert prepare(own(data, data)).fingerprint == prepare(own(data, data)).fingerprint


def test_streamed_data_may_be_named(own: Make) -> None:
    def found(name: str | None, seed: int = 0, n: int = 100) -> str:
        data = Augmented("torch", seed, n)
        return prepare(own(data, data, in_memory="never", fingerprint=name)).fingerprint

    assert found("mine", seed=0) == found("mine", seed=1)
    assert len({found("mine"), found("other"), found(None), found("mine", n=101)}) == 4


def test_data_in_memory_are_not_named(own: Make) -> None:
    with pytest.raises(UserError, match=r"data\.fingerprint is for streamed data"):
        prepare(own(classes(4), classes(3), fingerprint="mine"))


WRONG: dict[str, tuple[Any, str]] = {
    "one part": ((classes(3),), "it must return .* it returned tuple"),
    "four parts": ((classes(3),) * 4, "it must return .* it returned tuple"),
    "a part without items": ((classes(3), 7), "it must return .* its validation part is int"),
    "an iterator": ((iter([]), classes(3)), "its train part is list_iterator"),
    "a pair of lists": (([1], [2]), "its train part is not a pair of tensors"),
    "sparse tensors": (
        ((torch.eye(3).to_sparse(), torch.zeros(3)), classes(3)),
        r"the inputs of its train part are sparse.* x.to_dense\(\)",
    ),
    "sparse arrays": (
        (classes(3), (scipy.sparse.eye_array(3), torch.zeros(3))),
        r"the inputs of its validation part are sparse: return x.toarray\(\)",
    ),
    "text": (
        ((numpy.array(["a", "b"]), torch.zeros(2)), classes(3)),
        "the inputs of its train part are of the type <U1, not numbers: encode text",
    ),
    "objects": (
        ((torch.zeros(2, 2), numpy.array([[1], [2, 3]], dtype=object)), classes(3)),
        "the targets of its train part are of the type object, not numbers",
    ),
    "masked arrays": (
        ((numpy.ma.masked_equal(numpy.eye(2), 0), torch.zeros(2)), classes(3)),
        "the inputs of its train part are a masked array",
    ),
    "a single number": (
        ((torch.tensor(1.0), torch.tensor(1)), classes(3)),
        "the inputs of its train part are a single number",
    ),
    "an empty dataset": ((classes(3), Items([])), "its validation part is empty"),
    "empty tensors": ((classes(3), classes(0)), "its validation part has 0 inputs and 0 targets"),
    "unequal lengths": (
        ((torch.zeros(3, 2), torch.zeros(4)), classes(3)),
        "its train part has 3 inputs and 4 targets",
    ),
    "other inputs": (
        ((torch.zeros(3, 2), torch.zeros(3)), (torch.zeros(3, 5), torch.zeros(3))),
        r"the inputs of its parts differ: train torch\.float32 \(3, 2\), validation .*\(3, 5\)",
    ),
    "other targets": (
        (classes(3), numbers(3)),
        r"the targets of its parts differ: train torch\.int64 \(3,\), .*float32 \(3, 1\)",
    ),
    "a negative class": (
        (classes(3), classes(3), (torch.zeros(2, 2), torch.tensor([0, -1]))),
        "its test part has a negative class",
    ),
    "items that are no pairs": (
        (Items([torch.zeros(2)]), classes(3)),
        "its validation part are pairs .x, y., and those of its train part are not",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_data_is_refused_with_the_reason(own: Make, case: str) -> None:
    parts, message = WRONG[case]
    with pytest.raises(UserError, match=message) as caught:
        prepare(own(*parts))
    if case != "items that are no pairs":
        assert str(caught.value).startswith(f"{__name__}.given: ")


def test_a_function_that_returns_no_parts_is_refused(tmp_path: Path) -> None:
    target = f"{__name__}.given"
    spec = DataSpec(target, target=target, arguments={"parts": None}, cache=tmp_path)
    with pytest.raises(UserError, match=r"it must return .* it returned NoneType"):
        prepare(spec)


def test_wrong_arguments_of_the_function_are_told(tmp_path: Path) -> None:
    target = f"{__name__}.given"
    with pytest.raises(UserError) as caught:
        prepare(DataSpec(target, target=target, arguments={"prats": 1}, cache=tmp_path))
    assert "data.prats: 'prats' is unknown; did you mean parts?" in str(caught.value)
    assert "data.parts is missing: given needs it" in str(caught.value)


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_items_of_different_shapes_are_refused(own: Make, in_memory: str) -> None:
    data = Items([(torch.zeros(2), 0), (torch.zeros(3), 0)])
    with pytest.raises(UserError, match="the items of Items differ in shape"):
        prepare(own(data, classes(3), in_memory=in_memory))


def test_items_that_are_no_tensors_are_refused(own: Make) -> None:
    data = Items([("a picture", 0)] * 3)
    with pytest.raises(UserError, match="Items"):
        prepare(own(data, data))


@pytest.mark.parametrize("case", ["unequal lengths", "other inputs", "other targets"])
def test_streamed_parts_that_do_not_fit_together_are_refused(own: Make, case: str) -> None:
    first, second = WRONG[case][0]
    stream = TensorDataset(*classes(3))
    parts = (stream, first) if case == "unequal lengths" else (TensorDataset(*first), second)
    with pytest.raises(UserError, match="given"):
        prepare(own(*parts, in_memory="never"))


def test_streamed_classes_are_all_counted(own: Make) -> None:
    data = Items([(torch.zeros(2), i) for i in range(1000)])
    assert prepare(own(data, data, in_memory="never")).n_classes == 1000


class Silent(Items):
    """A Dataset that does not say how many classes it has."""

    def __init__(self, items: list[Any]) -> None:
        super().__init__(items)
        del self.n_classes


def test_streamed_classes_that_are_not_declared_are_those_of_the_items(own: Make) -> None:
    train = Silent([(torch.zeros(2), i % 3) for i in range(500)])
    validation = Silent([(torch.zeros(2), i % 5) for i in range(64)])
    assert prepare(own(train, validation, in_memory="never")).n_classes == 5


def test_an_item_beyond_the_declared_classes_is_refused(own: Make) -> None:
    data = Items([(torch.zeros(2), i % 4) for i in range(64)])
    data.n_classes = 3
    with pytest.raises(UserError, match="there are 3 classes, and an item is of class 3"):
        prepare(own(data, data, in_memory="never"))


def test_classes_in_a_column_are_refused_or_flattened(own: Make) -> None:
    pair = torch.zeros(6, 2), torch.arange(6)[:, None] % 2
    spec = own(pair, pair)
    assert tensors(spec, prepare(spec))["train"].y.shape == (6,)


def test_tensors_that_require_gradients_are_kept_without_them(own: Make) -> None:
    x, y = numbers(4)
    spec = own((x.requires_grad_(), y), numbers(3))
    assert not tensors(spec, prepare(spec))["train"].x.requires_grad


def test_streamed_items_may_have_any_type(own: Make) -> None:
    data = Items([(torch.zeros(2, dtype=torch.bfloat16), 0)] * 3)
    assert prepare(own(data, data, in_memory="never")).n_train == 3


@pytest.mark.parametrize(
    ("parts", "has_labels"),
    [
        ((labels(6, 3), labels(4, 3)), True),
        ((labels(6, 2, 4, 4), labels(4, 2, 4, 4)), True),
        ((labels(6, 1), labels(4, 1)), False),
        ((labels(6), labels(4)), False),
        ((labels(6, 3), numbers(4, 3)), False),
        ((numbers(6, 3), numbers(4, 3)), False),
        ((classes(6), classes(4)), False),
    ],
)
def test_several_zeros_and_ones_are_labels(own: Make, parts: Any, has_labels: bool) -> None:
    assert prepare(own(*parts)).has_labels is has_labels
    streamed = [TensorDataset(*part) for part in parts]
    assert prepare(own(*streamed, in_memory="never")).has_labels is has_labels


def test_classes_of_pixels_may_be_left_out(own: Make) -> None:
    x, y = torch.randn(6, 1, 2, 2), torch.tensor([[0, 1], [-100, 2]]).expand(6, 2, 2)
    info = prepare(own((x, y), (x[:4], y[:4])))
    assert (info.n_classes, info.n_outputs) == (3, 3)
