"""The user's own code by dotted path: found, checked, and its errors told apart from ours."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lrsearch.errors import OwnCodeError, UserError
from lrsearch.own_code import (
    call_own,
    check_arguments,
    dotted_path,
    load_target,
    name_of,
    provided,
)

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module of the user's into the working directory, which is not yet importable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))

    def write_module(name: str, text: str) -> None:
        path = Path(f"{name}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write_module


def test_a_module_in_the_working_directory_is_found(write: Write, tmp_path: Path) -> None:
    write("mine_found", "VALUE = 41\n\ndef answer():\n    return VALUE + 1\n")
    assert load_target("mine_found.answer", "model")() == 42
    assert str(tmp_path) in sys.path


def test_a_module_inside_a_package_is_found(write: Write) -> None:
    write("mine_pkg/__init__", "")
    write("mine_pkg/nets", "class Net:\n    pass\n")
    assert load_target("mine_pkg.nets.Net", "model").__name__ == "Net"


def test_what_is_installed_is_found() -> None:
    assert load_target("pathlib.Path", "model") is Path


def test_a_missing_module_is_named_with_where_it_was_looked_for(
    write: Write, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        load_target("mine_absent.Net", "model")
    message = str(caught.value)
    assert message.startswith("model: there is no module 'mine_absent' (for mine_absent.Net)")
    assert f"working directory {tmp_path}" in message


def test_a_missing_module_of_a_package_is_named(write: Write) -> None:
    write("mine_half/__init__", "")
    with pytest.raises(UserError, match=r"no module 'mine_half\.nets'"):
        load_target("mine_half.nets.Net", "data")


def test_a_missing_attribute_is_answered_with_the_closest_one(write: Write) -> None:
    write("mine_typo", "class Network:\n    pass\n\n_hidden = 1\n")
    with pytest.raises(UserError) as caught:
        load_target("mine_typo.Netwrok", "model")
    assert str(caught.value) == (
        "model: in module mine_typo, 'Netwrok' is unknown; did you mean Network? (valid: Network)"
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import mine_not_installed\n", ModuleNotFoundError),
        ("from pathlib import NoSuchThing\n", ImportError),
        ("1 / 0\n", ZeroDivisionError),
        ("def f(:\n", SyntaxError),
    ],
)
def test_an_error_inside_the_users_module_is_shown_with_its_own_frames(
    write: Write, text: str, error: type[Exception]
) -> None:
    write("mine_broken", text)
    with pytest.raises(OwnCodeError, match="model: importing mine_broken failed") as caught:
        load_target("mine_broken.Net", "model")
    assert str(caught.value).startswith(f"model: importing mine_broken failed: {error.__name__}: ")
    assert "mine_broken.py" in str(caught.value)
    assert "importlib" not in str(caught.value)


def test_a_path_without_a_module_is_refused() -> None:
    with pytest.raises(UserError, match="Net"):
        load_target("Net", "model")


def takes(width: int, *, depth: int, dropout: float = 0.0) -> None:
    """Stands for the user's function."""


def takes_anything(width: int = 1, **more: Any) -> None:
    """Stands for a function that passes arguments on."""


def test_arguments_that_fit_are_accepted() -> None:
    check_arguments(takes, {"width": 1, "depth": 2}, "model")
    check_arguments(takes, {"depth": 2, "dropout": 0.1}, "model", offered=["width", "more"])
    check_arguments(takes_anything, {"anything": 1}, "model")


def test_every_problem_with_arguments_is_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        check_arguments(takes, {"dropuot": 0.1}, "model", offered=["width"])
    assert str(caught.value).splitlines() == [
        "model.dropuot: 'dropuot' is unknown; did you mean dropout? (valid: depth, dropout, width)",
        "model.depth is missing: takes needs it",
    ]


def test_a_missing_argument_of_a_partial_is_told() -> None:
    with pytest.raises(UserError, match=r"data\.depth is missing"):
        check_arguments(partial(takes, 1), {}, "data")


def by_position(outputs: Any, targets: Any, /, gamma: float = 2.0) -> None:
    """Stands for a loss of the user's."""


@pytest.mark.parametrize(
    ("function", "arguments", "positional", "said"),
    [
        (by_position, {"gamma": 1.0}, 2, None),
        (by_position, {"gama": 1.0}, 2, "train.gama: 'gama' is unknown; did you mean gamma?"),
        (by_position, {"targets": 1.0}, 2, "train.targets: lrsearch itself gives by_position"),
        (by_position, {}, 0, "train.outputs is missing: by_position needs it"),
        (by_position, {"outputs": 1, "targets": 1}, 0, "takes it by position alone"),
        (partial(by_position, gamma=1.0), {}, 2, None),
        (lambda: None, {}, 2, "must take 2 arguments by position"),
        (lambda *both, gamma=1: None, {"gamma": 2}, 2, None),
        (dict, {"anything": 1}, 2, None),  # its signature cannot be read
        (type("Class", (), {"__init__": lambda self, width: None}), {"width": 1}, 0, None),
    ],
)
def test_what_is_given_by_position_and_by_name_is_checked(
    function: Any, arguments: dict[str, Any], positional: int, said: str | None
) -> None:
    if said is None:
        check_arguments(function, arguments, "train", positional=positional)
        return
    with pytest.raises(UserError, match=re.escape(said)):
        check_arguments(function, arguments, "train", positional=positional)


def test_a_target_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(UserError, match="data"):
        check_arguments({"no": "function"}, {}, "data")


def test_code_that_ends_python_is_an_error_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ends_python.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(OwnCodeError, match=r"importing ends_python ends Python: SystemExit\(0\)"):
        load_target("ends_python.Net", "model")
    with pytest.raises(OwnCodeError, match="SystemExit: 3"):
        call_own(sys.exit, "sys.exit", 3)


def test_a_function_may_change_the_arguments_it_is_given() -> None:
    def greedy(sizes: list[int]) -> list[int]:
        sizes.insert(0, 64)
        return sizes

    mine = [16]
    assert call_own(greedy, "mine.greedy", sizes=mine) == [64, 16]
    assert mine == [16]


GROUP = "raise BaseExceptionGroup('several', [SystemExit(3), ValueError('mine')])\n"


def test_whatever_class_of_error_the_users_code_raises_is_told_in_words(write: Write) -> None:
    write("mine_group", GROUP)
    write("mine_own_class", "class Mine(BaseException): pass\nraise Mine('stop here')\n")
    write("mine_net", f"class Net:\n    def __init__(self):\n        {GROUP}")
    with pytest.raises(OwnCodeError, match="importing mine_group failed") as caught:
        load_target("mine_group.Net", "model")
    assert "ValueError: mine" in str(caught.value)
    with pytest.raises(OwnCodeError, match="Mine: stop here"):
        load_target("mine_own_class.Net", "model")
    with pytest.raises(OwnCodeError, match=r"mine_net\.Net failed") as caught:
        call_own(load_target("mine_net.Net", "model"), "mine_net.Net")
    assert "ValueError: mine" in str(caught.value)
    assert "targets.py" not in str(caught.value)


def test_ctrl_c_in_the_users_code_is_passed_on(write: Write) -> None:
    write("mine_interrupted", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_target("mine_interrupted.Net", "model")

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_own(interrupted, "interrupted")


def test_frames_of_lrsearch_before_the_users_are_left_out() -> None:
    class Nameless:
        @property
        def __name__(self) -> str:
            raise ValueError("mine")

    with pytest.raises(OwnCodeError, match="name failed") as caught:
        call_own(name_of, "mine.name", Nameless())
    assert __file__ in str(caught.value)
    assert inspect.getfile(name_of) not in str(caught.value)


def test_functions_that_were_provided_need_no_module_and_only_for_a_while() -> None:
    def train() -> int:
        return 7

    with provided({"__main__.train_here": train}):
        with provided({"__main__.train_here": print}):
            assert load_target("__main__.train_here", "objective") is print
        assert load_target("__main__.train_here", "objective") is train
    with pytest.raises(UserError, match="notebook that made the study"):
        load_target("__main__.train_here", "objective")


@pytest.mark.parametrize(
    ("function", "path"),
    [
        (load_target, "lrsearch.own_code.load_target"),
        (UserError, "lrsearch.errors.UserError"),
        (UserError.__init__, None),
        (partial(load_target, what=""), None),
        (lambda: None, None),
    ],
)
def test_what_other_processes_can_import_has_a_path(function: object, path: str | None) -> None:
    assert dotted_path(function) == path
