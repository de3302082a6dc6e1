"""Commands as a shell reads them."""

from __future__ import annotations

import subprocess


def pasted(line: str) -> list[str]:
    """The arguments of a command as `sh` hands them over."""
    script = f"python() {{ printf '%s\\0' \"$@\"; }}\n{line}\n"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


def variables_of(line: str, *names: str) -> dict[str, str]:
    """The environment variables of these names that a command gets, as `sh` sets them."""
    shown = " ".join(f'"{name}=${name}"' for name in names)
    script = f"python() {{ printf '%s\\0' {shown or '-'}; }}\n{line}\n"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    pairs = done.stdout.split("\0")[:-1] if names else []
    return dict(pair.split("=", 1) for pair in pairs)
