"""The types of the fixtures that run the command line and read its database."""

import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]
Query = Callable[[str], list[tuple[object, ...]]]
