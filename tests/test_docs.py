"""The README and the documentation: links, paths, commands, and examples as they are printed."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from command_line import Command
from documentation import EXAMPLES, PAGES, REPO, SHOWN, Section, problem

from lrsearch.cli.compose import load_settings

GUIDE = {section.title: section for section in EXAMPLES if section.page == "your-model.md"}
_CHECKED = (
    "Your own model",
    "Your own data as tensors",
    "Your own data as Datasets",
    "Your own loss and metric",
    "Your own training loop",
    "The search space",
    "Your own schedule",
)
"""Sections of the guide of which a test looks at the results."""
_IN_PROCESS = ("Hugging Face's Trainer", "Lightning", "timm")
"""Sections on frameworks, which tests/integrations runs: to import one takes many seconds."""
OTHERS = [
    section
    for section in EXAMPLES
    if section.commands and section not in [GUIDE[title] for title in _CHECKED]
    if section.page != "frameworks.md" or section.title not in _IN_PROCESS
]
"""Those that are only run."""
_ROOMS = ("lrsearch", "conf", "sweeps", "tests", "benchmarks", "docs")
_PATH = re.compile(rf"`((?:{'|'.join(_ROOMS)})(?:/[a-z0-9_./-]+)?)`")


@dataclass(frozen=True)
class Folder:
    """A folder in which the commands of a section have been run."""

    path: Path
    output: dict[str, str]
    """What each command printed."""

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query to the sweep's database."""
        with closing(sqlite3.connect(self.path / "lrsearch.db")) as database:
            return database.execute(query, values).fetchall()

    def outcomes(self, study: str) -> list[str]:
        """How the trials of a study ended."""
        rows = self.rows(
            "select outcome from lrsearch_units join lrsearch_studies using (study_id) "
            "where name = ? and lrsearch_units.state = 'done'",
            study,
        )
        return [outcome for (outcome,) in rows]

    def trials(self, study: str) -> list[optuna.trial.FrozenTrial]:
        """Its trials, as Optuna has them."""
        url = f"sqlite:///{self.path / 'lrsearch.db'}"
        return optuna.load_study(study_name=study, storage=url).get_trials()

    def evaluations(self, study: str) -> list[tuple[float | None, dict[str, Any], float]]:
        """`val_loss`, further metrics and learning rate of all evaluations of all its trials."""
        found: list[tuple[float | None, dict[str, Any], float]] = []
        for trial in self.trials(study):
            rows = self.rows(
                "select val_loss, metrics, lr_end from lrsearch_epochs where trial_id = ?",
                trial._trial_id,
            )
            found += [(loss, yaml.safe_load(metrics), lr) for loss, metrics, lr in rows]
        return found

    def best(self, study: str) -> dict[str, Any]:
        """Its best.yaml."""
        record: dict[str, Any] = yaml.safe_load(
            (self.path / "outputs" / study / "best.yaml").read_text()
        )
        return record


Run = Callable[[Section], Folder]


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Makes the folder of a section and runs all of its commands, each of which must succeed."""
    # `python` is the one that runs the tests.
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"

    def run_command(command: str) -> str:
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env={**environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def run_section(section: Section) -> Folder:
        section.write(tmp_path)
        return Folder(tmp_path, {command: run_command(command) for command in section.commands})

    return run_section


@pytest.fixture
def example(
    request: pytest.FixtureRequest, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Section:
    """A section whose files are in the current folder, and nowhere else in this process."""
    section: Section = request.param
    section.write(own_folder)
    for name in section.files:
        if name.endswith(".py"):  # other sections have modules of the same name
            monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    return section


def _ended(outcomes: list[str], number: int) -> None:
    """So many trials have ended, at least one of them completed, none by an error."""
    assert len(outcomes) == number
    assert "complete" in outcomes
    assert set(outcomes) <= {"complete", "pruned", "diverged"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_of_the_repository_that_a_page_names_exists(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        pytest.skip("it names what was there at the time")
    own = {name for example in EXAMPLES if example.page == page.name for name in example.files}
    for path in set(_PATH.findall(page.read_text())) - own:
        assert (REPO / path).exists(), path


def test_the_architecture_names_every_room() -> None:
    text = (REPO / "docs" / "architecture.md").read_text()
    rooms = {path.parent.name for path in REPO.glob("lrsearch/*/__init__.py")}
    assert rooms <= set(re.findall(r"`lrsearch/(\w+)`", text))


@pytest.mark.parametrize("section", SHOWN, ids=lambda one: one.name)
def test_every_command_that_is_shown_is_valid(section: Section) -> None:
    for arguments in section.shown:
        assert problem(arguments) is None


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name, indirect=True)
def test_the_sweeps_of_every_example_are_valid(example: Section) -> None:
    sweeps = [Path(name).stem for name in example.files if name.endswith(".yaml")]
    assert sweeps
    for sweep in sweeps:
        assert load_settings([f"+sweep={sweep}"]).sweep == sweep


@pytest.mark.slow
@pytest.mark.parametrize(
    "example",
    [one for one in EXAMPLES if not one.commands],
    ids=lambda one: one.name,
    indirect=True,
)
def test_the_code_of_an_example_without_commands_works(example: Section, command: Command) -> None:
    for name in example.files:
        if name.endswith(".yaml"):
            code, _, errors = command(f"+sweep={Path(name).stem}", "dry_run=true")
            assert code == 0, errors


@pytest.mark.slow
@pytest.mark.parametrize("section", OTHERS, ids=lambda one: one.name)
def test_the_commands_of_every_example_run(run: Run, section: Section) -> None:
    run(section)


@pytest.mark.slow
def test_own_model(run: Run) -> None:
    folder = run(GUIDE["Your own model"])
    _ended(folder.outcomes("net"), 4)
    for trial in folder.trials("net"):
        assert 0.0 <= trial.params["model.dropout"] <= 0.5
        assert 1.5 <= trial.params["groups.head.lr_factor"] <= 10.0
    best = folder.best("net")
    assert best["config"]["model"]["_target_"] == "mypkg.Net"
    assert set(best["recipe"]["model"]) == {"dropout"}
    # Two rates: that of `head` is a multiple of the other.
    for _, metrics, lr in folder.evaluations("net"):
        assert 1.5 * lr <= metrics["lr_end_head"] * (1 + 1e-9)
    script = (folder.path / "outputs/net/best.py").read_text()
    assert "from mypkg import Net" in script
    assert re.search(r"Net\(input_shape=\(1, 8, 8\), n_outputs=10, width=32, dropout=", script)
    assert "lrsearch." not in "".join(re.findall(r"^(?:from|import) .*", script, re.MULTILINE))
    printed = folder.output["PYTHONPATH=. python outputs/net/best.py"]
    assert float(printed.split()[-1]) == pytest.approx(best["value"], rel=1e-6)


@pytest.mark.slow
def test_own_data_as_tensors(run: Run) -> None:
    folder = run(GUIDE["Your own data as tensors"])
    _ended(folder.outcomes("rings"), 3)
    best = folder.best("rings")
    assert best["config"]["data"]["noise"] == 0.2
    data = best["data"]
    assert data["name"] == "mypkg.load"
    assert data["n_train"] == 600  # the argument, not the default
    assert data["n_validation"] == 200
    assert data["input_shape"] == [2]
    assert data["n_classes"] == 2


@pytest.mark.slow
def test_own_data_as_datasets(run: Run) -> None:
    folder = run(GUIDE["Your own data as Datasets"])
    _ended(folder.outcomes("sines"), 3)
    data = folder.best("sines")["data"]
    assert data["name"] == "mypkg.load"
    assert data["file"] is None  # streamed
    assert (data["n_train"], data["n_validation"]) == (256, 200)
    assert data["n_classes"] is None
    assert all("val_accuracy" not in metrics for _, metrics, _ in folder.evaluations("sines"))


@pytest.mark.slow
def test_own_loss_and_metric(run: Run) -> None:
    folder = run(GUIDE["Your own loss and metric"])
    _ended(folder.outcomes("focal"), 3)
    best = folder.best("focal")
    assert best["metric"] == "val_top2"
    evaluations = folder.evaluations("focal")
    assert all({"val_accuracy", "val_top2"} <= set(metrics) for _, metrics, _ in evaluations)
    assert all(m["val_accuracy"] <= m["val_top2"] <= 1.0 for _, m, _ in evaluations)
    # The best of a maximum is the highest that any trial has reported.
    assert best["value"] == max(metrics["val_top2"] for _, metrics, _ in evaluations)
    script = (folder.path / "outputs/focal/best.py").read_text()
    assert "from mypkg import focal" in script
    assert "focal(outputs, targets, gamma=1.5)" in script


@pytest.mark.slow
def test_own_schedule(run: Run) -> None:
    folder = run(GUIDE["Your own schedule"])
    _ended(folder.outcomes("schedule"), 4)
    domains = {"mine.power": (1.0, 3.0), "restarts.T_0": (0.1, 0.5)}
    for trial in folder.trials("schedule"):
        (name,) = domains.keys() & trial.params.keys()
        low, high = domains[name]
        assert low <= trial.params[name] <= high
    assert (
        "equal to the last bit"
        in folder.output["python -m lrsearch train outputs/schedule/best.yaml"]
    )
    script = folder.output["python outputs/schedule/best.py"].split()
    assert float(script[-1]) == folder.best("schedule")["value"]


@pytest.mark.slow
def test_own_training_loop(run: Run) -> None:
    folder = run(GUIDE["Your own training loop"])
    _ended(folder.outcomes("loop"), 4)
    for trial in folder.trials("loop"):
        assert 3 <= trial.params["log2_model.width"] <= 5
        assert trial.params["grad_clip"] in (0.5, 1.0)
    evaluations = folder.evaluations("loop")
    assert all(set(metrics) == {"accuracy"} for _, metrics, _ in evaluations)
    best = folder.best("loop")
    assert best["metric"] == "accuracy"
    assert best["value"] == max(metrics["accuracy"] for _, metrics, _ in evaluations)
    complete = [t for t in folder.trials("loop") if t.state == optuna.trial.TrialState.COMPLETE]
    assert {len(trial.intermediate_values) for trial in complete} == {3}
    # The schedule has driven the rate: `lr=` of the report differs from the peak somewhere.
    peaks = [trial.user_attrs["peak lr"] for trial in folder.trials("loop")]
    assert any(lr not in peaks for _, _, lr in evaluations)
    printed = folder.output["python -m lrsearch train outputs/loop/best.yaml"]
    assert "equal to the last bit" in printed


@pytest.mark.slow
def test_search_space(run: Run) -> None:
    folder = run(GUIDE["The search space"])
    whole = yaml.safe_load(folder.output["python -m lrsearch +sweep=space --cfg job"])
    space = yaml.safe_load(
        folder.output["python -m lrsearch +sweep=space --cfg job --package space"]
    )
    assert whole["space"] == space
    assert space["lr"] == {"low": 0.01, "high": 0.3, "log": True}
    assert space["batch_size"] == {"low": 16, "high": 1024, "type": "power_of_two"}
    shown = folder.output["python -m lrsearch +sweep=space dry_run=true"]
    recipes = [line for line in shown.splitlines() if line.startswith("  sgd(")]
    assert len(recipes) == 6
    for recipe in recipes:
        assert "cosine" in recipe or "wsd(decay=" in recipe
        assert "warmup=0.05 " in recipe
        assert "weight_decay" not in recipe
    _ended(folder.outcomes("space"), 4)
    trials = sorted(folder.trials("space"), key=lambda trial: trial.number)
    for trial in trials:
        always = {
            "lr",
            "log2_batch_size",
            "grad_clip",
            "model.dropout",
            "scheduler",
            "sgd.momentum",
        }
        branch = {"wsd.decay", "wsd.shape"} if trial.params["scheduler"] == "wsd" else set()
        assert set(trial.params) == always | branch
        assert 0.01 <= trial.params["lr"] <= 0.3
        assert trial.params["sgd.momentum"] in (0.9, 0.95)
    first, second = trials[0].params, trials[1].params
    assert (first["lr"], first["log2_batch_size"], first["scheduler"]) == (0.1, 6, "cosine")
    assert (second["lr"], second["log2_batch_size"], second["scheduler"]) == (0.05, 5, "wsd")
    assert second["sgd.momentum"] == 0.9
