"""Commands as a shell reads them."""

from __future__ import annotations

import subprocess


def pasted(line: str) -> list[str]:
    """The arguments of a command as `sh` hands them over."""
    script = f"python() {{ printf '%s\\0' \"$@\"; }}\n{line}\n"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]
