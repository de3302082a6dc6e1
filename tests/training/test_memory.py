import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from lrsearch.training.memory import keep_freed_memory

def step():
    torch.ones(25_000_000)  # 100 MB

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(10):
    step()
before = faults()
for _ in range(10):
    step()
print((faults() - before) / 10)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_the_memory_of_one_step_serves_the_next():
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "GLIBC"))}
    faults = {
        mode: float(
            subprocess.run(
                [sys.executable, "-c", PROGRAM, mode],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for mode in ("keep", "as it is")
    }
    # 100 MB are 24,414 pages of 4 KiB; bigger pages make fewer faults of them.
    assert faults["keep"] < 10 < faults["as it is"]
