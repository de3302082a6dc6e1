"""Pickled functions: for the workers of one call alone."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from lrsearch.errors import UserError
from lrsearch.launchers.pickled import VARIABLE, pickled, unpickled


def test_a_closure_reaches_workers_by_a_private_file(tmp_path: Path) -> None:
    factor = 3
    with pickled("__main__.train", lambda x: factor * x, tmp_path) as variables:
        (file,) = tmp_path.iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        functions = unpickled(variables)
    assert functions["__main__.train"](7) == 21
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_changed_is_not_loaded(tmp_path: Path) -> None:
    with pickled("__main__.train", print, tmp_path) as variables:
        (file,) = tmp_path.iterdir()
        file.write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
        with pytest.raises(UserError, match="not the function"):
            unpickled(variables)
    assert not Path("pwned").exists()


def test_without_the_variable_nothing_is_loaded() -> None:
    assert unpickled({"LRSEARCH_STORAGE": "sqlite://"}) == {}
    assert VARIABLE == "LRSEARCH_FUNCTION"


def test_what_cannot_be_pickled_is_said(tmp_path: Path) -> None:
    file = (tmp_path / "open").open("w")
    with (
        pytest.raises(UserError, match="cannot be pickled"),
        pickled("__main__.train", lambda: file.write("x"), tmp_path),
    ):
        pass  # pragma: no cover
    file.close()


def test_without_cloudpickle_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with (
        pytest.raises(UserError, match="pip install cloudpickle"),
        pickled("__main__.train", print, tmp_path),
    ):
        pass  # pragma: no cover
