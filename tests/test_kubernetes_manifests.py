"""The manifests for Kubernetes: valid, restricted, without secrets; what each end of a worker does.

No cluster runs here. The built manifests are checked against the published schemas, and the rules
for failed pods are applied as Kubernetes documents them.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from documentation import problem
from kustomize import MANIFESTS, SECRETS, Manifest, build, find, overlays, pod_specs
from sqlalchemy import create_engine, text, update
from told_sweep import ToldSweep

from lrsearch.states import StudyState
from lrsearch.storage.tables import StudyRow
from lrsearch.workers.exit_codes import ExitCode

REPO = MANIFESTS.parent.parent
OVERLAYS = overlays()
VERSIONS = ("1.31", kubernetes_validate.latest_version())
"""The oldest and newest version of Kubernetes for which the manifests are written."""
_OPERATORS = {"postgresql.cnpg.io/v1", "keda.sh/v1alpha1"}
"""Resources of operators, whose schemas no package has."""
KILLED = 137


def built_with_all_components() -> list[list[Manifest]]:
    return [
        *(build(name) for name in OVERLAYS),
        *(build(name, "gpu", "shared-data") for name in ("workers", "workers-keda", "submit")),
    ]


def end_of_pod(job: Manifest, exit_code: int, disrupted: bool = False) -> str:
    """What Kubernetes does about a failed pod of a Job: the action of the first rule that matches.

    https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
    """
    for rule in job["spec"]["podFailurePolicy"]["rules"]:
        if "onPodConditions" in rule:
            assert rule["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
            if disrupted:
                return str(rule["action"])
            continue
        codes = rule["onExitCodes"]
        names = [one["name"] for one in job["spec"]["template"]["spec"]["containers"]]
        assert codes["containerName"] in names
        assert codes["operator"] == "In"
        assert codes["values"] == sorted(codes["values"])
        if exit_code in codes["values"]:
            return str(rule["action"])
    return "Count"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid(version: str) -> None:
    for manifests in built_with_all_components():
        assert manifests
        for one in manifests:
            if one["apiVersion"] not in _OPERATORS:
                kubernetes_validate.validate(one, version, strict=True)


def test_a_misspelled_field_would_be_found() -> None:
    job = yaml.safe_load((MANIFESTS / "workers" / "job.yaml").read_text())
    job["spec"]["completion"] = job["spec"].pop("completions")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, VERSIONS[-1], strict=True)


def test_every_pod_keeps_to_the_restricted_standard_and_writes_to_volumes_alone() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    seen = 0
    for manifests in built_with_all_components():
        for _, pod in pod_specs(manifests):
            seen += 1
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["runAsUser"] > 0
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert pod["automountServiceAccountToken"] is False
            assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
            kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
            assert kinds <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
            for container in pod["containers"]:
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }
                assert container["resources"]["limits"]["memory"]
                assert not any("hostPort" in port for port in container.get("ports", []))
    assert seen > 8
    namespace = find(build("postgresql"), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_all_is_in_one_namespace() -> None:
    for manifests in map(build, OVERLAYS):
        for one in manifests:
            if one["kind"] != "Namespace":
                assert one["metadata"]["namespace"] == "lrsearch"


def test_pods_of_lrsearch_run_the_user_of_the_image() -> None:
    dockerfile = (REPO / "Dockerfile").read_text()
    for manifests in built_with_all_components():
        for _, pod in pod_specs(manifests):
            (container,) = pod["containers"]
            if container["image"].startswith("lrsearch"):
                user = pod["securityContext"]["runAsUser"]
                assert f"USER {user}:{pod['securityContext']['runAsGroup']}\n" in dockerfile


def test_every_pod_of_lrsearch_runs_a_valid_command() -> None:
    commands = [
        container["args"]
        for manifests in map(build, OVERLAYS)
        for _, pod in pod_specs(manifests)
        for container in pod["containers"]
        if container["image"].startswith("lrsearch")
    ]
    assert {args[0] for args in commands} == {"dashboard", "submit", "worker"}
    for args in commands:
        assert problem(args) is None


def test_passwords_are_in_secrets_alone_which_are_made_from_files_outside_of_git() -> None:
    for name in SECRETS:
        path = MANIFESTS / "base" / "secrets" / name
        done = subprocess.run(["git", "check-ignore", "-q", str(path)], cwd=REPO, check=False)
        assert done.returncode == 0
    for manifests in built_with_all_components():
        made = {
            one["metadata"]["name"]: one.get("data", {})
            for one in (*build("postgresql"), *manifests)
            if one["kind"] == "Secret"
        }
        for _, pod in pod_specs(manifests):
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            for container in pod["containers"]:
                paths: set[str] = set()
                for mount in container["volumeMounts"]:
                    secret = volumes.get(mount["name"], {}).get("secret")
                    if secret is not None:
                        keys = made[secret["secretName"]]
                        items = secret.get("items") or [{"key": key, "path": key} for key in keys]
                        assert all(item["key"] in keys for item in items)
                        paths |= {f"{mount['mountPath']}/{item['path']}" for item in items}
                for variable in container.get("env", []):
                    if re.search("PASSWORD|TOKEN|KEY", variable["name"]):
                        assert variable["name"].endswith("_FILE")
                        assert variable["value"] in paths
    for path in MANIFESTS.rglob("*.yaml"):
        assert not re.search(r"://[^/\s@]*:[^/\s@]*@", path.read_text())


@pytest.mark.parametrize("database", ["postgresql", "cloudnativepg"])
def test_what_is_applied_later_finds_the_settings_the_secrets_and_the_database(
    database: str,
) -> None:
    base = build(database)
    names = {(one["kind"], one["metadata"]["name"]) for one in base}
    settings = find(base, "ConfigMap", "lrsearch")["data"]
    host = re.fullmatch(r"postgresql://lrsearch@([\w-]+)/lrsearch(\?\w+=\w+)?",
                        settings["LRSEARCH_STORAGE"])  # fmt: skip
    assert host
    if database == "cloudnativepg":
        # The operator makes the service NAME-rw.
        assert host[1] == find(base, "Cluster")["metadata"]["name"] + "-rw"
        owner = find(base, "Cluster")["spec"]["bootstrap"]["initdb"]
        assert (owner["database"], owner["owner"]) == ("lrsearch", "lrsearch")
        assert ("Secret", owner["secret"]["name"]) in names
    else:
        assert ("Service", host[1]) in names
    for name in ("workers", "workers-keda", "submit"):
        manifests = build(name)
        there = names | {(one["kind"], one["metadata"]["name"]) for one in manifests}
        for _, pod in pod_specs(manifests):
            for container in pod["containers"]:
                for source in container["envFrom"]:
                    for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                        reference = source.get(key)
                        if reference and not reference.get("optional"):
                            assert (kind, reference["name"]) in there
            for volume in pod["volumes"]:
                if "secret" in volume:
                    assert ("Secret", volume["secret"]["secretName"]) in there
                if "configMap" in volume:
                    assert ("ConfigMap", volume["configMap"]["name"]) in there


def test_services_find_their_pods() -> None:
    for manifests in map(build, OVERLAYS):
        for service in (one for one in manifests if one["kind"] == "Service"):
            selected = [
                one["spec"]["template"]
                for one in manifests
                if "template" in one.get("spec", {})
                and service["spec"]["selector"].items()
                <= one["spec"]["template"]["metadata"]["labels"].items()
            ]
            (template,) = selected
            ports = {p["name"] for c in template["spec"]["containers"] for p in c["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (ExitCode.BROKEN, "Count"),
        (ExitCode.BAD_INPUT, "FailJob"),
        (ExitCode.REFUSED, "FailIndex"),
        (ExitCode.STALLED, "Ignore"),
        (ExitCode.HANDED_BACK, "Ignore"),
        (KILLED, "Count"),
    ],
)
def test_the_exit_code_of_a_worker_decides_whether_it_is_replaced(code: int, action: str) -> None:
    job = find(build("workers"), "Job")
    assert end_of_pod(job, code) == action
    assert end_of_pod(job, code, disrupted=True) == "Ignore"


def test_the_workers_of_a_job_are_replaced_one_by_one_also_after_others_have_ended() -> None:
    for name in ("workers", "workers-gpu"):
        spec = find(build(name), "Job")["spec"]
        assert spec["completionMode"] == "Indexed"
        assert spec["completions"] == spec["parallelism"]
        assert "backoffLimitPerIndex" in spec  # needed by FailIndex
        assert spec["template"]["spec"]["restartPolicy"] == "Never"  # needed by podFailurePolicy


def test_a_worker_knows_its_job_before_the_variable_that_names_it() -> None:
    """A variable may refer to those before it alone."""
    (container,) = find(build("workers"), "Job")["spec"]["template"]["spec"]["containers"]
    names = [variable["name"] for variable in container["env"]]
    (own,) = [one for one in container["env"] if one["name"] == "LRSEARCH_JOB"]
    used = re.findall(r"\$\((\w+)\)", own["value"])
    assert len(used) == 2
    assert all(names.index(name) < names.index("LRSEARCH_JOB") for name in used)


def test_a_worker_that_hangs_is_found_by_the_file_that_it_touches() -> None:
    for name in ("workers", "workers-keda"):
        for _, pod in pod_specs(build(name)):
            (worker,) = pod["containers"]
            (flag,) = [one for one in worker["args"] if one.startswith("--heartbeat-file=")]
            probe = worker["livenessProbe"]["exec"]["command"]
            file = flag.partition("=")[2]
            assert file in probe[-1]
            assert any(file.startswith(mount["mountPath"]) for mount in worker["volumeMounts"])


def test_the_probe_passes_while_the_file_is_touched_and_fails_when_it_is_old_or_missing(
    tmp_path: Path,
) -> None:
    (worker,) = find(build("workers"), "Job")["spec"]["template"]["spec"]["containers"]
    file = tmp_path / "heartbeat"
    probe = [word.replace("/tmp/heartbeat", str(file))
             for word in worker["livenessProbe"]["exec"]["command"]]  # fmt: skip

    def passes() -> bool:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0

    assert not passes()
    file.touch()
    assert passes()
    hour_ago = time.time() - 3600
    os.utime(file, (hour_ago, hour_ago))
    assert not passes()


def test_the_workers_of_the_autoscaler_are_those_of_the_job_without_its_end() -> None:
    job = find(build("workers"), "Job")["spec"]["template"]["spec"]
    deployment = find(build("workers-keda"), "Deployment")["spec"]["template"]["spec"]
    (of_job,), (of_deployment,) = job["containers"], deployment["containers"]
    assert set(of_job["args"]) - set(of_deployment["args"]) == {"--until-empty"}
    only_there = {"JOB_NAME", "JOB_COMPLETION_INDEX", "LRSEARCH_JOB"}
    kept = [one for one in of_job["env"] if one["name"] not in only_there]
    assert of_deployment == {**of_job, "args": of_deployment["args"], "env": kept}
    assert deployment == {key: value for key, value in job.items() if key != "restartPolicy"} | {
        "containers": deployment["containers"]
    }


def test_the_autoscaler_and_the_budget_are_about_the_workers() -> None:
    manifests = build("workers-keda")
    deployment = find(manifests, "Deployment")
    scaled, budget = find(manifests, "ScaledObject"), find(manifests, "PodDisruptionBudget")
    assert scaled["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]  # or each `apply` would undo the autoscaler's
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (trigger,) = scaled["spec"]["triggers"]
    # https://keda.sh/docs/2.20/scalers/postgresql/
    assert trigger["metadata"].keys() == {
        "host", "port", "userName", "dbName", "sslmode", "query", "targetQueryValue"
    }  # fmt: skip
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    authentication = find(manifests, "TriggerAuthentication")
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    (password,) = authentication["spec"]["secretTargetRef"]
    secret = find(build("postgresql"), "Secret", password["name"])
    assert password["key"] in secret["data"]


def test_the_autoscaler_counts_the_work_that_workers_can_take(
    new_database: Callable[[], str],
) -> None:
    (trigger,) = find(build("workers-keda"), "ScaledObject")["spec"]["triggers"]
    url = new_database()
    sweep = ToldSweep(url, n_trials=6)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))

    def workers() -> int:
        with engine.connect() as connection:
            return int(connection.scalar(text(trigger["metadata"]["query"])))

    def change(**columns: object) -> None:
        with engine.begin() as connection:
            connection.execute(update(StudyRow).values(**columns))

    assert workers() == 6
    sweep.trial()
    sweep.begin()
    assert workers() == 5  # one done, one running
    change(max_running=2)
    assert workers() == 2
    change(state=StudyState.PAUSED)
    assert workers() == 0
    engine.dispose()
    sweep.close()


def test_gpus_and_a_shared_volume_are_additions_to_the_same_workers() -> None:
    for name, kind in (("workers", "Job"), ("workers-keda", "Deployment")):
        plain = find(build(name), kind)["spec"]["template"]["spec"]
        (before,) = plain["containers"]
        pod = find(build(name, "gpu", "shared-data"), kind)["spec"]["template"]["spec"]
        (after,) = pod["containers"]
        assert after["resources"]["limits"] == {
            **before["resources"]["limits"], "nvidia.com/gpu": "1"
        }  # fmt: skip
        assert after["image"] == "lrsearch:cuda"
        (data,) = [volume for volume in pod["volumes"] if volume["name"] == "data"]
        assert data["persistentVolumeClaim"] == {"claimName": "lrsearch-data"}
        assert "emptyDir" not in data
        assert len(pod["volumes"]) == len(plain["volumes"])
    assert build("workers-gpu") == build("workers", "gpu")
