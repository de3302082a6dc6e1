"""The launchers, which start the workers of a sweep. To add one: a module with a class that meets
`base.Launcher`, an entry in LAUNCHERS here, a YAML in conf/launcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import Component, ComponentConfig, Registry

if TYPE_CHECKING:
    from lrsearch.launchers.base import Launcher

LAUNCHERS = Registry(
    "launcher",
    [
        Component(
            "local",
            "lrsearch.launchers.local.Local",
            {"per_gpu": Parameter("int", 1, low=1, help="workers that share each GPU")},
            help="processes on this machine, one for each GPU or core",
        ),
        Component(
            "slurm",
            "lrsearch.launchers.slurm.Slurm",
            {
                "gpus_per_worker": Parameter(
                    "any", None, help="a number, or a type and a number: a100:1"
                ),
                "cpus": Parameter("int", None, low=1, help="processors of a worker"),
                "mem": Parameter("any", None, help="memory of a worker: 16G"),
                "time": Parameter("any", None, help="limit of a job: 04:00:00, or minutes"),
                "partition": Parameter("text", None, help="where the jobs run"),
                "account": Parameter("text", None, help="who pays for them"),
                "qos": Parameter("text", None, help="their quality of service"),
                "constraint": Parameter("text", None, help="features that a node must have"),
                "setup": Parameter("texts", (), help="lines of bash before the worker"),
                "extra": Parameter("mapping", None, help="further options of sbatch"),
                "check": Parameter("bool", True, help="look first whether a node can work"),
            },
            help="jobs of a SLURM cluster, which go on when the terminal is closed",
        ),
        Component(
            "ray",
            "lrsearch.launchers.ray.Ray",
            {
                "address": Parameter(
                    "text", "auto", help="10.0.0.1:6379, ray://10.0.0.1:10001, auto or local"
                ),
                "gpus_per_worker": Parameter("float", None, low=0, help="what a trial takes"),
                "cpus": Parameter("float", None, low=0, help="processors of a worker"),
                "max_restarts": Parameter("int", -1, low=-1, help="of an actor; -1: always"),
                "working_dir": Parameter("text", ".", help="is copied to the nodes, or none"),
                "env": Parameter("texts", (), help="names of variables that workers get"),
                "resources": Parameter("mapping", None, help="custom resources of a worker"),
                "runtime_env": Parameter("mapping", None, help="more of Ray's runtime environment"),
            },
            help="actors on a Ray cluster, which go on when the terminal is closed",
        ),
        Component(
            "kubernetes",
            "lrsearch.launchers.kubernetes.Kubernetes",
            {
                "image": Parameter("text", None, help="image of lrsearch in a registry"),
                "namespace": Parameter("text", None, help="where the Jobs are created"),
                "context": Parameter("text", None, help="a context of kubectl's configuration"),
                "storage": Parameter("text", None, help="URL by which pods reach the database"),
                "secret": Parameter("text", None, help="a Secret with the database's password"),
                "gpus_per_worker": Parameter("int", None, low=0, help="GPUs of a worker"),
                "gpu_resource": Parameter("text", "nvidia.com/gpu", help="what a GPU is called"),
                "cpus": Parameter(
                    "float", None, low=0, open_low=True, help="processors of a worker"
                ),
                "mem": Parameter("text", None, help="memory of a worker: 8Gi"),
                "node_selector": Parameter("mapping", None, help="labels that a node must have"),
                "tolerations": Parameter("mappings", (), help="taints of nodes that are accepted"),
                "service_account": Parameter("text", None, help="service account of the pods"),
                "env_from": Parameter("texts", (), help="Secrets with environment variables"),
                "data_claim": Parameter("text", None, help="volume claim for data"),
                "checkpoints_claim": Parameter("text", None, help="volume claim for checkpoints"),
                "extra": Parameter("mapping", None, help="a JSON merge patch of the Job"),
            },
            help="pods of Jobs on Kubernetes, which go on when the terminal is closed",
        ),
    ],
    where="launcher",
)


def build_launcher(config: ComponentConfig) -> Launcher:
    """Make a launcher, of the catalogue or the user's own. Raises UserError or OwnCodeError."""
    component = LAUNCHERS.component(config)
    launcher: Launcher = component.load()(**component.complete(config.arguments))
    return launcher
