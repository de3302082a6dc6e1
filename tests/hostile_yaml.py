"""YAML files that would stop or break a reader."""

from __future__ import annotations

import os
from pathlib import Path

from lrsearch.text.yaml import LARGEST_FILE

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 20)
)


def hostile_files(folder: Path) -> dict[str, str]:
    """Files that would stop or break a reader, each with a part of what is said of it."""
    (folder / "bomb.yaml").write_text(BOMB)
    os.mkfifo(folder / "fifo.yaml")
    (folder / "device.yaml").symlink_to("/dev/zero")
    (folder / "folder.yaml").mkdir()
    (folder / "gone.yaml").symlink_to(folder / "nowhere")
    (folder / "loop.yaml").symlink_to(folder / "loop.yaml")
    with (folder / "huge.yaml").open("wb") as file:
        file.truncate(1 << 30)
    (folder / "latin.yaml").write_bytes(b"a: 1\ndescription: gr\xf6\xdfe\n")
    (folder / "list.yaml").write_text("- 1\n")
    return {
        "bomb": "bomb.yaml:6: ", "fifo": "not a regular file", "device": "not a regular file",
        "folder": "is a folder", "gone": "No such file", "loop": "symbolic links",
        "huge": f"larger than the {LARGEST_FILE >> 20} MiB",
        "latin": "latin.yaml:2: the text is not", "list": "is not a mapping",
    }  # fmt: skip
