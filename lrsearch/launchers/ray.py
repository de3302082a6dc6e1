"""Start the workers of a sweep on a Ray cluster, each in the place of an actor of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lrsearch.config.secrets import check_credentials
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.files import removed_if_empty
from lrsearch.launchers.base import Job, JobState, News, Sweep, WorkersFailed
from lrsearch.launchers.command_line import worker_arguments, worker_environment
from lrsearch.launchers.early_deaths import EarlyDeaths
from lrsearch.launchers.ray_connection import AUTO, LOCAL, NAMESPACE, connect
from lrsearch.launchers.ray_nodes import INSTALL, NodeFacts, Storage, node_facts, node_problems
from lrsearch.launchers.ray_worker import (
    ActorStatus,
    WorkerActor,
    WorkerCommand,
)
from lrsearch.queue.jobs import VARIABLE
from lrsearch.settings import RuntimeSettings, Settings
from lrsearch.states import WorkState
from lrsearch.storage.database import absolute
from lrsearch.storage.sqlite import file_of
from lrsearch.study.study import checkpoints_url
from lrsearch.text.formatting import plural
from lrsearch.text.redaction import redacted
from lrsearch.workers.abilities import needs_gpu
from lrsearch.workers.exit_codes import ExitCode

_INTERVAL = 2.0
"""Seconds between two looks at the actors."""
_ANSWER = 0.2
"""Seconds for which one look waits for answers."""
_FIRST_ANSWER = 3.0
"""Seconds for which the first look waits for answers of actors that another process has started."""
_SURVEY = 120.0
"""Seconds within which all nodes must have answered, where code may have to be copied first."""
_END = 10.0
"""Seconds within which workers that are killed are gone."""
_NOT_COPIED = (".git", ".venv", "venv", "__pycache__", "*.pyc")


@dataclass
class _Actor:
    job_id: str
    """Its name in the cluster."""
    handle: Any = None
    """Ray's handle of it; None while it is not known."""
    answer: Any = None
    """Reference to its next status."""
    status: ActorStatus | None = None
    """The last one; None while it waits for a node."""
    owner: str | None = None
    log: str | None = None
    is_restarting: bool = False
    """Whether its node or its process was lost, and Ray looks for another place."""
    is_told: bool = False
    """Whether it was told to stop."""
    loss: str | None = None
    """Why it has died, where it has and Ray does not restart it."""

    @property
    def is_waiting(self) -> bool:
        """Whether it has no node. One that does not answer at once may have one."""
        return self.is_restarting or (self.status is None and self.owner is None)


class Ray:
    """Runs one worker for each actor, as many as have work; Ray finds the nodes for them.

    On a cluster that was there before, actors outlive the process that has started them.
    """

    name: ClassVar[str] = "ray"

    def __init__(
        self,
        address: str = AUTO,
        gpus_per_worker: float | None = None,
        cpus: float | None = None,
        max_restarts: int = -1,
        working_dir: str = ".",
        env: Sequence[str] = (),
        resources: Mapping[str, float] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        """Set up a launcher; nothing is connected yet.

        `address` is that of the cluster, such as `10.0.0.1:6379` or `ray://10.0.0.1:10001`, or
        `auto` or `local`. GPUs and CPUs of a worker are by default those that a trial needs. Ray
        restarts an actor `max_restarts` times when its node or its process is lost, always where
        that is -1. `working_dir` is the folder that is copied to the nodes as the working
        directory of the workers; with `none` they run in the same folder as this process. `env` has
        names of environment variables that workers get from this process. `resources` are custom
        resources of a worker, and `runtime_env` is more of Ray's runtime environment.
        """
        self.address = address
        self.gpus, self.cpus = gpus_per_worker, cpus
        self.max_restarts = max_restarts
        self.working_dir = None if address == LOCAL or working_dir == "none" else working_dir
        self.env = tuple(env)
        self.resources = dict(resources or {})
        self.runtime_env = dict(runtime_env or {})
        self._workers: int | None = None
        self._room = 0
        self._shares_outputs = True
        """Whether all nodes have the folder of the outputs, so that logs can be written there."""
        self._environment: dict[str, str] = {}
        self._actors: dict[str, _Actor] = {}
        self._refusals = 0
        """Number of workers whose nodes could do nothing of the sweep."""
        self._early_deaths = EarlyDeaths()
        self._looked_at = -math.inf
        self._is_connected = False
        """Whether this launcher has connected this process, and so ends the connection."""

    @property
    def outlives(self) -> bool:
        """Whether the cluster goes on without this process."""
        return self.address != LOCAL

    def check(self, settings: Settings, runtime: RuntimeSettings) -> None:
        """Connect to the cluster and ask its nodes for what workers need. Raises UserError."""
        problems: list[str] = []
        check_credentials(self.runtime_env, "launcher.runtime_env", problems)
        problems += [
            f"launcher.env: this process has no environment variable {name}"
            for name in self.env
            if name not in os.environ
        ]
        if self.working_dir is not None and not Path(self.working_dir).expanduser().is_dir():
            problems.append(f"launcher.working_dir: there is no folder {self.working_dir}")
        train = settings.train
        if self.gpus is not None and self.gpus < train.gpus and train.gpus > 1:
            problems.append(
                f"launcher.gpus_per_worker: {self.gpus:g}, and a trial takes "
                f"train.gpus={train.gpus:g}"
            )
        if self.gpus is not None and self.gpus > 1 and self.gpus != int(self.gpus):
            problems.append(
                f"launcher.gpus_per_worker: {self.gpus:g} is neither whole nor a share of one"
            )
        if problems:
            raise ConfigErrors(problems)
        checkpoints = checkpoints_url(runtime.storage_url, runtime.checkpoints_url)
        self._is_connected = connect(
            self.address, self._runtime_env(_not_copied(settings, runtime, checkpoints))
        )
        self._choose_resources(settings)
        self._workers = None if runtime.workers == "auto" else int(runtime.workers)
        self._room = self._count_room()
        if self._workers is None and not self._room:
            raise UserError(
                f"launcher: no node of the Ray cluster has {self._needs()} for a worker; with "
                f"workers=NUMBER they wait until there is one"
            )
        self._environment = {
            # Paths that are relative to the working directory of this process.
            "LRSEARCH_STORAGE": absolute(runtime.storage_url),
            "LRSEARCH_CHECKPOINTS": checkpoints,
            "LRSEARCH_DATA": str(settings.data.root_folder),
            "LRSEARCH_CACHE": str(settings.data.cache_folder),
            **{name: os.environ[name] for name in self.env},
        }
        self._survey(runtime, checkpoints)

    def attach(self, sweep: Sweep) -> None:
        """Set the sweep that it serves, and find the actors that it has already."""
        # Workers have another working directory than this process.
        outputs = str(Path(sweep.locations.outputs).absolute())
        locations = dataclasses.replace(sweep.locations, outputs=outputs)
        self.sweep = dataclasses.replace(sweep, locations=locations)
        if not self._is_connected:
            self._is_connected = connect(self.address, {})
        self._jobs = sweep.jobs(self.name, {"address": self._place()})
        for row in self._jobs.rows():
            self._actors[row.job_id] = _Actor(row.job_id, log=row.log, owner=row.owner)
        self._look(_FIRST_ANSWER)

    def describe(self) -> str:
        """Return what a worker takes and where it runs."""
        where = "on this machine" if self.address == LOCAL else f"at {self._place()}"
        workers = plural(self.most(), "worker")
        return f"up to {workers} of {self._needs()} each on Ray {where}"

    def most(self) -> int:
        """Return the number of workers, by default as many as the nodes have room for now."""
        count = self._room if self._workers is None else self._workers
        return max(0, count - self._refusals)

    def start(self, count: int) -> None:
        """Start `count` actors; those without a node wait for one."""
        import ray

        options: dict[str, Any] = {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            "resources": self.resources,
            "max_restarts": self.max_restarts,
            "max_concurrency": 4,  # it answers while it waits for the end of its worker
            "namespace": NAMESPACE,
            **({"lifetime": "detached"} if self.outlives else {}),
        }
        new = [self._new_actor() for _ in range(count)]
        # The rows come first: a worker writes itself into its row as it begins.
        self._jobs.add({actor.job_id: actor.log for actor in new})
        for actor in new:
            command = WorkerCommand(
                tuple(worker_arguments(self.sweep)),
                {
                    **worker_environment(self.sweep),
                    **self._environment,
                    VARIABLE: f"{self.name}/{actor.job_id}",
                },
                None if self.working_dir is not None else str(Path.cwd()),
                actor.log,
            )
            remote = ray.remote(WorkerActor).options(name=actor.job_id, **options)
            actor.handle = remote.remote(command)
            self._actors[actor.job_id] = actor

    def alive(self) -> Sequence[Job]:
        """Return the actors that have not ended."""
        return [
            Job(
                job_id=actor.job_id,
                state=JobState.WAITING if actor.is_waiting else JobState.RUNNING,
                host=actor.status.host if actor.status else None,
                log=actor.log,
                owner=None if actor.owner is None else actor.owner.rsplit("/", 1)[0],
                is_starting=not actor.is_waiting and actor.owner is None,
            )
            for actor in self._actors.values()
        ]

    def watch(self, news: News) -> None:
        """Ask the actors how they are, and remove those that have ended or are not needed."""
        if news.ended_well:
            self._early_deaths.ended_well()
        if time.monotonic() - self._looked_at < _INTERVAL and not news.is_stopping:
            return
        self._room = self._count_room()
        self._look(_ANSWER)
        for actor in list(self._actors.values()):
            if actor.loss is not None or (actor.status and actor.status.code is not None):
                if self.sweep.endings is None:
                    del self._actors[actor.job_id]  # the process that follows it asks how it ended
                    continue
                self._remove(actor)
                self._judge(actor, news)
        if not news.is_stopping:
            self._drop_needless()

    def stop(self, jobs: Sequence[Job], at_once: bool = False) -> None:
        """Tell workers once to hand their work back, or kill them; end actors without a worker."""

        actors = [self._actors[job.job_id] for job in jobs if job.job_id in self._actors]
        for actor in actors:
            if actor.is_waiting:
                self._remove(actor)
        left = [actor for actor in actors if actor.job_id in self._actors]
        to_tell = [actor for actor in left if at_once or not actor.is_told]
        told = [actor.handle.stop.remote(at_once) for actor in to_tell]
        _ready(told, _END)  # they have been told when this process may end
        for actor in to_tell:
            actor.is_told = True
            if at_once:
                self._remove(actor)
                self._reclaim(actor, blame=False)

    def close(self) -> None:
        """End the connection to the cluster, and the cluster where it was started for the sweep."""
        import ray

        if self._is_connected:
            ray.shutdown()
            self._is_connected = False

    def _runtime_env(self, not_copied: Sequence[str]) -> dict[str, Any]:
        """Return Ray's runtime environment of the workers; some paths are not copied to nodes."""
        if self.working_dir is None:
            return self.runtime_env
        folder = Path(self.working_dir).expanduser().absolute()
        excluded = [*_NOT_COPIED, *(_within(folder, Path(path)) for path in not_copied)]
        return {
            "working_dir": str(folder),
            "excludes": [path for path in excluded if path],
            **self.runtime_env,
        }

    def _place(self) -> str:
        """Return the address by which another process finds the cluster."""
        if self.address.startswith("ray://"):
            return self.address
        import ray

        return str(ray.get_runtime_context().gcs_address)

    def _choose_resources(self, settings: Settings) -> None:
        train = settings.train
        if self.gpus is None:
            wanted = math.ceil(train.gpus) if train.gpus > 1 else train.gpus
            has_gpus = any(node["Resources"].get("GPU") for node in _nodes())
            on_gpus = train.device != "cpu" and (has_gpus or needs_gpu(settings))
            self.gpus = wanted if on_gpus else 0
        if self.cpus is None:
            processes = 1 if self.gpus else max(1, math.ceil(train.gpus))
            self.cpus = train.threads * processes

    def _needs(self) -> str:
        needs = {"CPU": self.cpus or 0, "GPU": self.gpus or 0, **self.resources}
        return " and ".join(f"{number:g} {name}" for name, number in needs.items() if number)

    def _room_of(self, node: Mapping[str, Any]) -> int:
        """Return the number of workers for which a node has room when it does nothing else."""
        needs = {"CPU": self.cpus or 0, "GPU": self.gpus or 0, **self.resources}
        has = node["Resources"]
        rooms = [has.get(name, 0) / number for name, number in needs.items() if number]
        return math.floor(min(rooms, default=1) + 1e-9)

    def _count_room(self) -> int:
        return sum(self._room_of(node) for node in _nodes())

    def _survey(self, runtime: RuntimeSettings, checkpoints: str) -> None:
        """Ask each node that could have a worker for what it would find. Raises UserError."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = [node for node in _nodes() if self._room_of(node)]
        url = absolute(runtime.storage_url)
        with self._tokens(runtime, checkpoints) as tokens:
            probe = ray.remote(node_facts)
            answers = [
                probe.options(
                    num_cpus=0,
                    max_retries=0,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
                ).remote(Storage(url), tuple(tokens))
                for node in nodes
            ]
            ready = _ready(answers, _SURVEY)
            facts: list[NodeFacts] = []
            problems: list[str] = []
            for node, answer in zip(nodes, answers, strict=True):
                host = node["NodeManagerHostname"]
                if answer not in ready:
                    problems.append(f"launcher: node {host} of the Ray cluster does not answer")
                    continue
                try:
                    facts.append(ray.get(answer))
                except Exception as error:  # noqa: BLE001 - of Ray, or of what the node imports
                    problems.append(_unfit(host, error))
        problems += [line for one in facts for line in node_problems(one, url, tokens)]
        if problems:
            raise ConfigErrors(sorted(set(problems)))
        lacking = {tokens[token] for one in facts for token in one.missing}
        self._shares_outputs = "output_dir" not in lacking

    @contextlib.contextmanager
    def _tokens(self, runtime: RuntimeSettings, checkpoints: str) -> Iterator[dict[str, str]]:
        """Write a file to each folder that nodes should have; yield their paths with their keys."""
        folders = {"output_dir": Path(runtime.output_dir).absolute()}
        if "://" not in checkpoints:
            folders["storage.checkpoints"] = Path(checkpoints)
        tokens = {"launcher.working_dir": Path.cwd()} if self.working_dir is None else {}
        with contextlib.ExitStack() as stack:
            for key, folder in folders.items():
                stack.enter_context(removed_if_empty(folder))
                folder.mkdir(parents=True, exist_ok=True)
                tokens[key] = folder / f".seen-by-nodes-{uuid.uuid4().hex}"
                tokens[key].touch()
                stack.callback(tokens[key].unlink, missing_ok=True)
            yield {str(path): key for key, path in tokens.items()}

    def _new_actor(self) -> _Actor:
        job_id = f"{self.sweep.name}-{uuid.uuid4().hex[:8]}"
        log = None
        if self._shares_outputs:
            self.sweep.logs.mkdir(parents=True, exist_ok=True)
            log = str(self.sweep.logs.absolute() / f"ray-{job_id.rpartition('-')[2]}.log")
        return _Actor(job_id, log=log)

    def _look(self, timeout: float) -> None:
        """Read from the actors and the database how the workers are.

        Answers are waited for up to `timeout` seconds; those that come later are for the next time.
        """
        import ray

        self._looked_at = time.monotonic()
        rows = {row.job_id: row for row in self._jobs.rows()}
        for actor in list(self._actors.values()):
            if actor.job_id in rows:
                actor.owner = rows[actor.job_id].owner or actor.owner
            else:
                self._remove(actor)  # another process has seen its end
                continue
            if actor.handle is None:
                try:
                    actor.handle = ray.get_actor(actor.job_id, NAMESPACE)
                except ValueError:
                    self._remove(actor)  # it has ended
                    continue
            if actor.answer is None:
                actor.answer = actor.handle.status.remote()
        waiting = {actor.answer: actor for actor in self._actors.values()}
        for answer in _ready(list(waiting), timeout):
            actor = waiting[answer]
            actor.answer = None
            try:
                actor.status = ray.get(answer)
                actor.is_restarting = False
            except ray.exceptions.ActorUnavailableError:
                actor.is_restarting = True  # or Ray finds that it is dead
                continue
            except ray.exceptions.RayActorError as error:
                actor.loss = str(error).strip().splitlines()[-1]
                continue
            if actor.log is None:
                address = self._place()
                actor.log = f"ray logs actor --id {actor.status.actor_id} --address {address}"
                self._jobs.set_log(actor.job_id, actor.log)

    def _judge(self, actor: _Actor, news: News) -> None:
        """Say why an actor has ended, and reclaim its work. Raises WorkersFailed."""
        code = actor.status.code if actor.status and actor.loss is None else ExitCode.BROKEN
        if code in (ExitCode.DONE, ExitCode.HANDED_BACK):
            return
        is_stopping = news.is_stopping or actor.is_told
        # The worker of a lost actor may be handing its work back: its lease decides.
        work = set() if actor.loss else self._reclaim(actor, blame=not is_stopping)
        if is_stopping:
            return
        who = f"worker {actor.job_id}"
        why = actor.loss or (actor.status.tail if actor.status else "")
        failed = WorkersFailed(f"{who} cannot work:\n{why}\n(its log: {actor.log})")
        if code == ExitCode.REFUSED:
            self._refusals += 1
            if not self.most():
                raise failed
            self.sweep.say(
                f"{who} can do nothing of what is left, and no other takes its place. Its log: "
                f"{actor.log}"
            )
        elif code == ExitCode.BAD_INPUT or self._early_deaths.add(work, actor.job_id):
            raise failed
        else:
            how = f"was lost: {actor.loss}" if actor.loss else "has died several times"
            self.sweep.say(f"{who} {how}; another takes its place. Its log: {actor.log}")

    def _drop_needless(self) -> None:
        """End actors that wait for a node, beyond the work that is open."""
        waiting = [actor for actor in self._actors.values() if actor.is_waiting]
        if not waiting:
            return
        work = self.sweep.queue.work()
        needed = work[WorkState.OPEN]
        if len(waiting) == len(self._actors) and work[WorkState.RUNNING]:
            needed = max(needed, 1)  # to take over if workers elsewhere die
        for actor in waiting[needed:]:
            self._remove(actor)

    def _remove(self, actor: _Actor) -> None:
        """Forget an actor, and end it where it has not ended."""
        import ray

        del self._actors[actor.job_id]
        self._jobs.remove([actor.job_id])
        if actor.handle is not None:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor.handle)

    def _reclaim(self, actor: _Actor, blame: bool) -> set[tuple[str, int]]:
        """Reclaim what the last worker of an actor was working on, and return it."""
        return self.sweep.reclaim_dead(lambda owner: owner == actor.owner, blame=blame)


def _ready(answers: Sequence[Any], timeout: float) -> list[Any]:
    """Wait for answers; return those that have come within `timeout` seconds."""
    import ray

    if not answers:
        return []
    ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=timeout)
    return list(ready)


def _nodes() -> list[dict[str, Any]]:
    """Return the nodes of the cluster that are alive."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _unfit(host: str, error: Exception) -> str:
    line = redacted(str(error).strip().splitlines()[-1] if str(error).strip() else repr(error))
    what = f"launcher: node {host} of the Ray cluster cannot run lrsearch: {line}"
    return f"{what}; {INSTALL}" if "ModuleNotFoundError" in str(error) else what


def _not_copied(settings: Settings, runtime: RuntimeSettings, checkpoints: str) -> tuple[str, ...]:
    """Return what lies in a working directory and is no code: outputs, checkpoints and data."""
    file = file_of(runtime.storage_url)
    paths = [str(Path(runtime.output_dir).absolute()), str(settings.data.root_folder)]
    paths += [checkpoints] if "://" not in checkpoints else []
    paths += [f"{file}*"] if file is not None else []
    return tuple(paths)


def _within(folder: Path, path: Path) -> str | None:
    """Return the pattern, as of .gitignore, of a path within a folder; None where it is not."""
    return f"/{path.relative_to(folder)}" if path.is_relative_to(folder) else None
