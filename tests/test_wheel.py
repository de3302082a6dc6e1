"""The wheel holds everything: it works from any directory, without the checkout."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
# Two builds at once would write into the same folder of the checkout.
pytestmark = pytest.mark.xdist_group("wheel")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as pip would lay it out."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--wheel-dir", str(folder), str(REPO)],
        check=True,
    )  # fmt: skip
    (wheel,) = folder.glob("lrsearch-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_it_lists_and_runs_the_sweeps_from_any_directory(
    unpacked: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lrsearch", *arguments], cwd=tmp_path, text=True,
            env={**environment, "PYTHONPATH": str(unpacked)}, capture_output=True,
        )  # fmt: skip

    where = subprocess.run(
        [sys.executable, "-c", "import lrsearch; print(lrsearch.__file__)"],
        cwd=tmp_path, text=True, env={**environment, "PYTHONPATH": str(unpacked)},
        capture_output=True, check=True,
    )  # fmt: skip
    assert str(unpacked) in where.stdout
    assert "mnist" in run().stdout
    done = run("+sweep=digits", "study.n_trials=1", "train.epochs=1", "workers=1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs" / "digits" / "best.py").exists()


def test_every_package_and_every_part_is_in_it(unpacked: Path) -> None:
    package = unpacked / "lrsearch"
    shipped = {p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file()}
    code = {p.relative_to(REPO / "lrsearch").as_posix() for p in REPO.glob("lrsearch/**/*.py")}
    yaml = [*REPO.glob("conf/**/*.yaml"), *REPO.glob("sweeps/*.yaml")]
    parts = {p.relative_to(REPO).as_posix() for p in yaml}
    page = {f"report/{name}" for name in ("page.html", "style.css", "draw.js")}
    scripts = {f"export/{name}.py.jinja" for name in ("training", "function")}
    manifest = {"manifests/job.yaml"}  # of the launcher of Kubernetes
    assert code | parts | page | scripts | manifest | {"py.typed"} <= shipped


def test_the_console_script_is_the_module(unpacked: Path) -> None:
    scripts = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["scripts"]
    (points,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert f"lrsearch = {scripts['lrsearch']}" in points.read_text()
    assert "from lrsearch.cli.main import main" in (REPO / "lrsearch/__main__.py").read_text()
