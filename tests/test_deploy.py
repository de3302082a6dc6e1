"""The files for containers and the guide to them: no secrets, nothing open, real commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from typing import Any

import pytest
import yaml
from documentation import REPO, problem

import lrsearch

GUIDE = (REPO / "docs" / "deploy.md").read_text()
COMPOSE = yaml.safe_load((REPO / "docker-compose.yml").read_text())
GPU = yaml.safe_load((REPO / "docker-compose.gpu.yml").read_text())
DOCKERFILE = (REPO / "Dockerfile").read_text()
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if name != "db"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what follows them."""
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_what_is_no_command_would_be_found() -> None:
    assert problem(["wroker"])
    assert problem(["dashboard", "--prot=1"])
    assert problem(["dashboard", "--port=many"])
    assert problem(["dashboard", "--port=1"]) is None


def test_the_image_is_built_in_stages_and_runs_as_nobody_special() -> None:
    found = instructions()
    stages = [rest for word, rest in found if word == "FROM"]
    assert len(stages) == 2
    last = found[max(n for n, (word, _) in enumerate(found) if word == "FROM") :]
    (user,) = [rest for word, rest in last if word == "USER"]
    assert re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", user)
    assert all(rest.startswith("--from=build") for word, rest in last if word == "COPY")
    assert ("ENTRYPOINT", '["python", "-m", "lrsearch"]') in last
    assert ("ARG", "TORCH_INDEX=https://download.pytorch.org/whl/cpu") in found


def test_the_image_says_its_version_and_has_the_drivers_of_object_stores() -> None:
    found = instructions()
    (version,) = [rest for word, rest in found if word == "ARG" and rest.startswith("VERSION")]
    assert version == f"VERSION={lrsearch.__version__}"
    (label,) = [rest for word, rest in found if word == "LABEL"]
    assert "org.opencontainers.image.version=$VERSION" in label
    (extras,) = re.findall(r"RUN pip install '\.\[(.*)\]'", DOCKERFILE)
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    chosen = [project["optional-dependencies"][extra] for extra in extras.split(",")]
    names = {re.split("[<>=]", requirement)[0] for extra in chosen for requirement in extra}
    assert {"s3fs", "gcsfs", "adlfs", "kubernetes"} <= names


def test_images_are_made_for_cpu_and_cuda_with_tags_of_the_version() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "images", "IMAGE=example.org/lrsearch"],
        cwd=REPO, capture_output=True, text=True, check=True,
    )  # fmt: skip
    tags = re.findall(r"--tag (\S+)", done.stdout)
    version = lrsearch.__version__
    assert {
        f"example.org/lrsearch:{tag}" for tag in (version, "cpu", f"{version}-cuda", "cuda")
    } <= {*tags}
    assert "TORCH_INDEX=https://pypi.org/simple" in done.stdout


def test_the_image_is_built_from_what_it_needs_and_from_nothing_else() -> None:
    lines = [
        line
        for line in (REPO / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    sources = [
        name
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for name in rest.split()[:-1]
    ]
    assert set(sources) == let_in
    assert all((REPO / name).exists() for name in sources)


def test_no_file_holds_a_secret_and_none_can_be_committed() -> None:
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key or "TOKEN" in key:
                assert key.endswith("_FILE")
                assert value.startswith("/run/secrets/")
                assert value.rpartition("/")[2] in service["secrets"]
            assert not re.search(r"://[^/]*:[^/]*@", value)
    assert all(one["file"].startswith("./secrets/") for one in COMPOSE["secrets"].values())
    assert {"/secrets/", "/.env"} <= set((REPO / ".gitignore").read_text().split())
    assert not re.search(r"://[^/\s]*:[^/\s]*@", GUIDE)


def test_only_the_dashboard_is_published_and_on_this_machine_alone() -> None:
    ports = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert ports == {"dashboard": ["127.0.0.1:8080:8080"]}
    dashboard = SERVICES["dashboard"]
    assert "--port=8080" in dashboard["command"]
    assert "--writable" not in dashboard["command"]
    assert "LRSEARCH_DASHBOARD_PASSWORD_FILE" in dashboard["environment"]
    assert not any(one.get("privileged") or "network_mode" in one for one in SERVICES.values())


def test_the_database_keeps_its_data_and_the_others_wait_for_it() -> None:
    database = SERVICES["db"]
    assert database["image"] == "postgres:18"
    assert database["volumes"] == ["db:/var/lib/postgresql"]  # where version 18 has it
    assert "pg_isready" in database["healthcheck"]["test"]
    for service in OURS.values():
        assert service["depends_on"] == {"db": {"condition": "service_healthy"}}
        assert service["environment"]["LRSEARCH_STORAGE"] == "postgresql://lrsearch@db/lrsearch"
    assert set(COMPOSE["volumes"]) == {"db", "data"}


def test_workers_and_submit_share_data_and_workers_get_time_to_hand_back() -> None:
    worker, submit = SERVICES["worker"], SERVICES["submit"]
    assert "data:/data" in worker["volumes"]
    assert "data:/data" in submit["volumes"]
    assert "VOLUME /data" in DOCKERFILE
    assert set(re.findall(r"LRSEARCH_\w+=(/\w+)/", DOCKERFILE)) == {"/data"}
    assert worker["restart"] == "unless-stopped"
    assert worker["stop_grace_period"]
    assert "container_name" not in worker  # or it could not be scaled
    assert submit["profiles"]  # `up` leaves it alone


def test_gpus_are_an_addition_to_the_same_services() -> None:
    assert set(GPU["services"]) <= set(SERVICES)
    worker = GPU["services"]["worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert device["count"] == "all"
    assert problem(worker["command"]) is None  # a worker on each
    assert worker["image"] != SERVICES["worker"]["image"]
    assert set(worker["build"]["args"]) == {"TORCH_INDEX"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_service_runs_a_valid_command(name: str) -> None:
    service = OURS[name]
    entry = service.get("entrypoint", ["python", "-m", "lrsearch"])
    assert entry[:3] == ["python", "-m", "lrsearch"]
    arguments = [*entry[3:], *service.get("command", [])]
    assert problem(arguments) is None


def shown_commands() -> list[list[str]]:
    """Every command line of lrsearch that the guide shows, in its text too."""
    found = re.findall(r"python -m lrsearch ([^`\n#]+)", GUIDE)
    found += re.findall(r"docker compose run --rm (?:worker )?([^`\n#]+)", GUIDE)
    return [shlex.split(command) for command in found]


@pytest.mark.parametrize("arguments", shown_commands(), ids=shlex.join)
def test_every_command_of_the_guide_is_valid(arguments: list[str]) -> None:
    assert problem(arguments) is None


def test_the_guide_shows_a_worker_of_every_kind() -> None:
    shown = {arguments[0] for arguments in shown_commands()}
    assert {"submit", "worker", "status", "dashboard", "doctor", "upgrade"} <= shown


def test_every_variable_of_the_guide_is_one_that_lrsearch_reads() -> None:
    text = "".join(
        path.read_text()
        for folder, pattern in (("lrsearch", "**/*.py"), ("conf", "*.yaml"))
        for path in (REPO / folder).glob(pattern)
    )
    files = GUIDE + DOCKERFILE + (REPO / "docker-compose.yml").read_text()
    for name in set(re.findall(r"\bLRSEARCH_[A-Z_]+", files)):
        assert name in text or name.removesuffix("_FILE") in text, name
