"""File systems: whether other machines see the same files."""

from __future__ import annotations

from pathlib import Path

_MOUNTS = Path("/proc/mounts")
_SHARED = (
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.gluster", "fuse.sshfs", "gfs2",
    "glusterfs", "gpfs", "lustre", "nfs", "ocfs2", "orangefs", "panfs", "pvfs2", "smb",
    "virtiofs", "wekafs",
)  # fmt: skip
"""Beginnings of the names of file systems that several machines mount."""


def file_system_of(path: Path) -> str:
    """Return the type of the file system on which a file lies, or would; "" if it is not known."""
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        return ""
    path, kind, longest = path.resolve(), "", -1
    for line in lines:
        _, point, name, *_ = line.split(" ")
        point = point.encode().decode("unicode_escape")  # a space is \040
        # Of several at one point the last one is on top.
        if path.is_relative_to(point) and len(point) >= longest:
            kind, longest = name, len(point)
    return kind


def is_shared(file_system: str) -> bool:
    """Return whether several machines can mount a file system of this type."""
    return file_system.startswith(_SHARED)
