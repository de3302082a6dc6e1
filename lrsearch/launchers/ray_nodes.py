"""What a worker would find on a node of a Ray cluster, and whether it can work there."""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import lrsearch
from lrsearch.launchers.remote import unreachable
from lrsearch.text.redaction import redacted

INSTALL = "install the same there, or by launcher.runtime_env={pip: [lrsearch==VERSION]}"


@dataclass(frozen=True)
class NodeFacts:
    """What a worker would find on a node."""

    host: str
    machine: str
    """Identity of the running machine, as `machine` returns it."""
    version: str
    """Version of lrsearch."""
    missing: tuple[str, ...]
    """Those of the given files that are not there."""
    unusable: str | None
    """Why the database cannot be used; None where it can."""


@dataclass(frozen=True)
class Storage:
    """The database of a sweep."""

    url: str = field(repr=False)
    """Its URL, which may hold a password."""


def node_facts(storage: Storage, files: tuple[str, ...]) -> NodeFacts:
    """Find out on a node what a worker would find there."""
    return NodeFacts(
        host=socket.gethostname(),
        machine=machine(),
        version=lrsearch.__version__,
        missing=tuple(file for file in files if not Path(file).exists()),
        unusable=_why_unusable(storage.url),
    )


def machine() -> str:
    """Return an identity of this machine since its start, the same in all its containers."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()


def _why_unusable(url: str) -> str | None:
    """Return why a worker on this machine cannot use the database; None where it can."""
    from sqlalchemy.exc import DBAPIError

    from lrsearch.storage.database import why
    from lrsearch.storage.engine import connect
    from lrsearch.storage.sqlite import fault_of, file_of

    if file_of(url) is not None:
        return fault_of(url, write=True)
    try:
        engine = connect(url)
        try:
            with engine.connect():
                return None
        finally:
            engine.dispose()
    except (DBAPIError, ImportError) as error:
        return why(url, error)


def node_problems(facts: NodeFacts, url: str, files: Mapping[str, str]) -> list[str]:
    """Return why a node cannot have a worker of this process's sweep.

    `url` is the database's, and `files` are those of which the facts say whether they are missing,
    each with the key of the configuration that it is of.
    """
    node = f"node {facts.host} of the Ray cluster"
    problems = []
    if facts.version != lrsearch.__version__:
        problems.append(
            f"launcher: {node} has lrsearch {facts.version}, and this process "
            f"{lrsearch.__version__}: {INSTALL}"
        )
    if facts.machine != machine() and (reason := unreachable(url)):
        problems.append(
            f"storage.url: {node}, another machine, cannot use {redacted(url)}: {reason}"
        )
    elif facts.unusable is not None:
        problems.append(
            f"storage.url: {node} cannot use the database {redacted(url)}: {facts.unusable}"
        )
    for file in facts.missing:
        if files[file] == "storage.checkpoints":
            problems.append(
                f"storage.checkpoints: {node} does not have the folder {Path(file).parent}, so no "
                f"trial could go on elsewhere: give a folder that all nodes have, or a URL such as "
                f"s3://bucket/folder"
            )
        elif files[file] == "launcher.working_dir":
            problems.append(
                f"launcher.working_dir: {node} does not have the folder {file}: give one that is "
                f"copied to the nodes, such as launcher.working_dir=."
            )
    return problems
