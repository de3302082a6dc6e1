"""The Job of workers for Kubernetes: the manifest of deploy/kubernetes/workers, filled in.

Nothing of a password is in it: pods mount a Secret.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrsearch.text.yaml import read_file

Manifest = dict[str, Any]

STUDY_LABEL = "lrsearch/study"
"""Label of Jobs and pods: the identity of the database and the number of the study."""
CONTAINER = "worker"
INDEX = "batch.kubernetes.io/job-completion-index"
"""Label and annotation of a pod: which of the Job's workers it is."""
JOB_NAME = "batch.kubernetes.io/job-name"
"""Label of a pod: its Job."""
_PACKAGE = Path(__file__).resolve().parent.parent
_HEARTBEAT = "--heartbeat-file=/tmp/heartbeat"
_OUTPUTS = "output_dir=/data/outputs"
_LONGEST_SLUG = 30
"""Characters of a sweep's name in that of its Jobs; names of pods have at most 63."""


@dataclass(frozen=True)
class PodOptions:
    """What the configuration says about the pods of workers."""

    image: str
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    cpus: str | None = None
    """Quantities of Kubernetes, such as `500m` and `8Gi`; None leaves the manifest's."""
    mem: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    service_account: str | None = None
    env_from: Sequence[str] = ()
    """Names of Secrets whose keys become environment variables."""
    data_claim: str | None = None
    """Name of a volume claim for data, shared by the workers."""
    checkpoints_claim: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """A JSON merge patch (RFC 7386) of the Job."""


@dataclass(frozen=True)
class Work:
    """What the workers of a Job are for."""

    name: str
    """Name of the Job."""
    study: str
    """Name of the study, for people."""
    label: str
    """Value of STUDY_LABEL."""
    count: int
    """Number of workers."""
    arguments: Sequence[str]
    """Arguments of `lrsearch` in each pod."""
    environment: Mapping[str, str]
    secret: str | None
    """Name of the Secret with the database's password under the key `password`, if it has one."""


def _packaged() -> Path:
    """The file of the manifest: inside an installed package, or in deploy/ of a checkout."""
    inside = _PACKAGE / "manifests" / "job.yaml"
    checkout = _PACKAGE.parent / "deploy" / "kubernetes" / "workers" / "job.yaml"
    return inside if inside.exists() else checkout


def render(work: Work, options: PodOptions) -> Manifest:
    """Return the manifest of a Job of workers."""
    job: Manifest = read_file(_packaged())
    template = job["spec"]["template"]
    pod = template["spec"]
    (container,) = pod["containers"]
    labels = {**job["metadata"]["labels"], STUDY_LABEL: work.label}
    job["metadata"] |= {
        "name": work.name,
        "labels": labels,
        "annotations": {"lrsearch/sweep": work.study},
    }
    job["spec"] |= {"completions": work.count, "parallelism": work.count}
    template["metadata"] = {"labels": dict(labels)}
    container["image"] = options.image
    container["args"] = [*work.arguments, _HEARTBEAT, _OUTPUTS]
    container["envFrom"] += [{"secretRef": {"name": name}} for name in options.env_from]
    _set_environment(container, work.environment)
    _set_password(pod, container, work.secret)
    _set_resources(container, options)
    _set_volumes(pod, container, options)
    if options.node_selector:
        pod["nodeSelector"] = dict(options.node_selector)
    if options.tolerations:
        pod["tolerations"] = [dict(toleration) for toleration in options.tolerations]
    if options.service_account is not None:
        pod["serviceAccountName"] = options.service_account
    patched: Manifest = merge_patch(job, options.extra)
    return patched


def _set_environment(container: Manifest, environment: Mapping[str, str]) -> None:
    kept = [one for one in container["env"] if one["name"] not in environment]
    # $(NAME) would stand for another variable; $$ is one $.
    own = [
        {"name": name, "value": value.replace("$(", "$$(")} for name, value in environment.items()
    ]
    container["env"] = kept + own


def _set_password(pod: Manifest, container: Manifest, secret: str | None) -> None:
    (volume,) = [one for one in pod["volumes"] if "secret" in one]
    if secret is not None:
        volume["secret"]["secretName"] = secret
        return
    pod["volumes"].remove(volume)
    mounts, env = container["volumeMounts"], container["env"]
    container["volumeMounts"] = [one for one in mounts if one["name"] != volume["name"]]
    container["env"] = [one for one in env if one["name"] != "LRSEARCH_STORAGE_PASSWORD_FILE"]


def _set_resources(container: Manifest, options: PodOptions) -> None:
    requests, limits = container["resources"]["requests"], container["resources"]["limits"]
    if options.cpus is not None:
        requests["cpu"] = options.cpus
    if options.mem is not None:
        requests["memory"] = limits["memory"] = options.mem
    if options.gpus:
        limits[options.gpu_resource] = str(options.gpus)


def _set_volumes(pod: Manifest, container: Manifest, options: PodOptions) -> None:
    if options.data_claim is not None:
        (data,) = [one for one in pod["volumes"] if one["name"] == "data"]
        del data["emptyDir"]
        data["persistentVolumeClaim"] = {"claimName": options.data_claim}
    if options.checkpoints_claim is not None:
        claim = {"claimName": options.checkpoints_claim}
        pod["volumes"].append({"name": "checkpoints", "persistentVolumeClaim": claim})
        container["volumeMounts"].append({"name": "checkpoints", "mountPath": "/data/checkpoints"})


def merge_patch(target: Any, patch: Any) -> Any:
    """Return a document with a JSON merge patch applied (RFC 7386): null removes a key."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def password_secret(name: str, password: str, job_name: str, job_uid: str) -> Manifest:
    """Return the Secret of a Job, with which it is deleted."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job_name, "uid": job_uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "ownerReferences": [owner]},
        "type": "Opaque",
        "stringData": {"password": password},
    }


def slug(name: str) -> str:
    """Return the part of a Job's name that tells people its sweep: letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", name.lower())[:_LONGEST_SLUG].strip("-") or "sweep"


def indexes(text: str | None) -> set[int]:
    """Return the indexes of a Job's status, such as `0,3-5`."""
    found: set[int] = set()
    for part in filter(None, (text or "").split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found
