"""The files around the code agree with each other: the workflow, the hooks, the templates."""

from __future__ import annotations

import re

import pytest
import yaml
from documentation import REPO

MAKE = re.compile(r"\bmake (?:PYTHON=\S+ )?([\w-]+)$", re.MULTILINE)


def test_the_workflow_runs_what_the_gate_runs() -> None:
    workflow = yaml.safe_load((REPO / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    targets = MAKE.findall("\n".join(steps))
    assert targets == MAKE.findall((REPO / ".ci" / "run").read_text())


def test_the_hooks_check_what_the_tests_begin_with() -> None:
    config = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())
    hooks = {hook["id"] for repo in config["repos"] for hook in repo["hooks"]}
    assert hooks == {"ruff", "ruff-format", "mypy"}
    makefile = (REPO / "Makefile").read_text()
    for command in ("ruff check", "ruff format", "mypy"):
        assert f"$(BIN)/{command}" in makefile


@pytest.mark.parametrize("name", ["bug_report.yml", "feature_request.yml"])
def test_the_templates_of_issues_are_forms(name: str) -> None:
    form = yaml.safe_load((REPO / ".github" / "ISSUE_TEMPLATE" / name).read_text())
    assert {"name", "description", "body"} <= form.keys()
    assert all(field["attributes"]["label"] for field in form["body"])
