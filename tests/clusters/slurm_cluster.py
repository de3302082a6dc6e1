"""A SLURM cluster of two nodes on this machine, of Debian's packages slurm-wlm and munge.

Each node has process and host name spaces of its own: it ends with all its jobs when its first
process is killed, as a machine that loses power. The kernel kills the daemons when the process that
started them ends, whatever ends it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

PROGRAMS = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "munged": "munge"}
"""The programs that it needs, each with the package of Debian that has it."""
NODES = ("n1", "n2")
CPUS = 4
"""Processors of each node, more than the machine may have."""
_START = 60.0
"""Seconds within which the cluster starts, and within which it ends jobs."""

_CONF = """\
ClusterName=test
SlurmctldHost={host}({address})
SlurmctldPort={control_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ReturnToService=1
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5
KillWait=30
MinJobAge=10
SlurmdTimeout=20
SlurmctldTimeout=20
InactiveLimit=0
NodeName=
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 LLN=YES
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
"""
"""Credentials expire soon, since a job that is requeued waits for that (120 s by default)."""


def missing() -> str | None:
    """Return why the cluster cannot be had on this machine; None where it can."""
    for program, package in PROGRAMS.items():
        if shutil.which(program, path=_PATH) is None:
            return f"{program} of Debian's package {package} is not installed"
    if os.geteuid() != 0:
        return "SLURM's daemons and name spaces need the rights of root"
    if routable_address() is None:
        return "this machine has no address but its own"
    return None


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def routable_address() -> str | None:
    """Return an address of this machine that another would use; None where it has none."""
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family == socket.AF_INET and not one.address.startswith("127."):
                return one.address
    return None


class SlurmCluster:
    """A running cluster. Its commands find it by `environment`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": _PATH,
        }
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = dict(zip(("control", *NODES), _free_ports(1 + len(NODES)), strict=True))

    def start(self) -> None:
        """Start all daemons, and wait until all nodes take jobs."""
        folder = self.folder
        (folder / "state").mkdir(parents=True)
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={name} NodeAddr=127.0.0.1 Port={self._ports[name]} "
            f"CPUs={CPUS} RealMemory=4000 Gres=gpu:{CPUS}"
            for name in NODES
        )
        conf = "\n".join(
            nodes if line.startswith("NodeName=") else line for line in _CONF.splitlines()
        )
        (folder / "slurm.conf").write_text(
            conf.format(
                host=socket.gethostname(),
                address="127.0.0.1",
                control_port=self._ports["control"],
                folder=folder,
            )
            + "\n"
        )
        for number in range(CPUS):
            (folder / f"gpu{number}").touch()  # stands for a device
        gpus = f"Name=gpu File={folder}/gpu[0-{CPUS - 1}]\n"
        (folder / "gres.conf").write_text(gpus)
        self._run(
            "munged",
            *("munged", "--foreground", "--force", f"--key-file={folder}/munge.key"),
            *(f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid"),
            *(f"--seed-file={folder}/munge.seed", f"--log-file={folder}/munge.log"),
        )
        _until(lambda: (folder / "munge.socket").exists(), "munged has no socket")
        self._run("slurmctld", "slurmctld", "-D", "-c", "-f", self.environment["SLURM_CONF"])
        for name in NODES:
            self.start_node(name)
        _until(lambda: self.states() == dict.fromkeys(NODES, "idle"), self._logs)

    def start_node(self, name: str) -> None:
        """Start a node, or start it again after `kill_node`."""
        slurmd = f"slurmd -D -N {name} -f {self.environment['SLURM_CONF']}"
        self._run(
            name,
            *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts"),
            *("bash", "-c", f"hostname {name}; {slurmd}; true"),
        )

    def kill_node(self, name: str) -> None:
        """End a node with all its processes, as if its power had failed."""
        node = self._daemons.pop(name)
        node.kill()
        node.wait()

    def command(self, *arguments: str) -> str:
        """Run a command of SLURM; return its output. Raises CalledProcessError."""
        done = subprocess.run(
            arguments,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=_START,
        )
        if done.returncode:
            raise AssertionError(f"{arguments}: {done.stderr}")
        return done.stdout

    def states(self) -> dict[str, str]:
        """Return the state of each node; empty while the controller does not answer."""
        with contextlib.suppress(AssertionError):
            lines = self.command("sinfo", "-h", "-N", "-p", "low", "-o", "%N %T").splitlines()
            return dict(line.split() for line in lines)
        return {}

    def jobs(self) -> dict[str, tuple[str, str]]:
        """Return state and nodes of each job, by its id (`7`, or `7_3` of an array)."""
        lines = self.command("squeue", "-h", "-r", "-o", "%i|%T|%N").splitlines()
        return {job: (state, nodes) for job, state, nodes in (line.split("|") for line in lines)}

    def close(self) -> None:
        """End all jobs and daemons."""
        for name in [*NODES, "slurmctld", "munged"]:
            if (daemon := self._daemons.pop(name, None)) is not None:
                daemon.kill()
                daemon.wait()

    def _run(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *arguments],
                env={**_plain(os.environ), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _logs(self) -> str:
        logs = [*self.folder.glob("*.out"), *self.folder.glob("*.log")]
        tails = (f"{log.name}:\n{log.read_text(errors='replace')[-1500:]}" for log in logs)
        return "\n".join(["the cluster does not start", *tails])


@contextlib.contextmanager
def slurm_cluster(folder: Path) -> Iterator[SlurmCluster]:
    """Run a cluster for the length of the block."""
    cluster = SlurmCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if not key.startswith("SLURM")}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _until(condition: Callable[[], bool], failure: str | Callable[[], str]) -> None:
    deadline = time.monotonic() + _START
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(failure if isinstance(failure, str) else failure())
        time.sleep(0.2)
