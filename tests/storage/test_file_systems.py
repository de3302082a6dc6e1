"""Which files other machines can see."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrsearch.storage import file_systems
from lrsearch.storage.file_systems import file_system_of, is_shared

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/me/my\\040disk xfs rw 0 0
tmpfs /home2 tmpfs rw 0 0
scratch /scratch lustre rw 0 0
overlay /scratch overlay rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/x.db", "ext4"),
        ("/home/me/x.db", "nfs4"),
        ("/home/me/my disk/x.db", "xfs"),
        ("/home2/x.db", "tmpfs"),
        ("/scratch/x.db", "overlay"),  # over the other
    ],
)
def test_a_file_lies_on_the_file_system_that_is_mounted_nearest_above_it(
    path: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    monkeypatch.setattr(file_systems, "_MOUNTS", mounts)
    assert file_system_of(Path(path)) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "lustre", "fuse.sshfs", "beegfs"])
def test_file_systems_of_a_network_are_shared(kind: str) -> None:
    assert is_shared(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "tmpfs", "overlay", "btrfs", ""])
def test_those_of_a_disk_are_not(kind: str) -> None:
    assert not is_shared(kind)
