"""GPU benchmark: checks of correctness, then of speed, in one run of a few minutes.

It needs a machine with one GPU and no network: give `--data` a folder with MNIST (as torchvision
unpacks or downloads it). Nothing is installed or fetched. Exit code 1 if a check of correctness
fails. `--short --device cpu` runs a small version of every row that needs no GPU.

Ratios compare alternating runs within this one call, on one GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Before torch is imported: without it cuBLAS refuses to be deterministic.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import gpu_checks
import gpu_speed
import torch
from gpu_rows import Plan, Row
from machine import describe_machine

HERE = Path(__file__).resolve().parent
RECORD = HERE / "results" / "gpu.json"
LONGEST = 340.0
"""Seconds after which no further check is started."""

CHECKS: dict[str, Callable[[Plan], list[Row]]] = {
    "sweep": gpu_checks.sweep,
    "takeover": gpu_checks.takeover,
    "resume": gpu_checks.resume,
    "precision": gpu_checks.precision,
    "out of memory": gpu_checks.out_of_memory,
    "weights": gpu_checks.weights_on_cpu,
    "bare loop": gpu_speed.bare_loop,
    "synchronisations": gpu_speed.synchronisations,
    "data on the device": gpu_speed.data_on_device,
    "workers": gpu_speed.workers,
    "compile": gpu_checks.compiled,
}
"""The checks in the order in which they run: the most important first."""


def main() -> None:
    options = read_options()
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no card that torch can use here; --device cpu runs what needs none")
    card = torch.cuda.get_device_name() if device == "cuda" else "none: the CPU"
    began = time.perf_counter()
    rows: list[Row] = []
    print(f"{card}, torch {torch.__version__}{', in short' if options.short else ''}")
    with tempfile.TemporaryDirectory(prefix="lrgpu-") as name:
        plan = Plan(Path(name), options.data, device, options.short)
        sys.path.insert(0, str(plan.folder))  # where checks write models of their own
        for check in options.only or CHECKS:
            rows += run(check, plan, began)
    wrong = [row for row in rows if row.ok is False]
    print(f"{len(rows)} rows, {len(wrong)} wrong, {time.perf_counter() - began:.0f} s")
    if options.output is not None:
        record = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "card": card,
            "cuda": torch.version.cuda if device == "cuda" else None,
            "machine": describe_machine(),
            "short": options.short,
            "rows": [asdict(row) for row in rows],
        }
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(record, indent=1) + "\n")
    sys.exit(1 if wrong else 0)


def run(check: str, plan: Plan, began: float) -> list[Row]:
    """Return the rows of one check, and print them; an exception becomes a failed row."""
    if time.perf_counter() - began > LONGEST:
        rows = [Row(check, "left out: the time is up", None)]
    else:
        try:
            rows = CHECKS[check](plan)
        except Exception as error:  # noqa: BLE001 - the other rows are still to be measured
            traceback.print_exc()
            rows = [Row(check, f"{type(error).__name__}: {error}".splitlines()[0], False)]
    for row in rows:
        print(row, flush=True)
    return rows


def read_options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="a folder with MNIST; digits where it is missing")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--short", action="store_true", help="every row in small, for a test")
    parser.add_argument("--only", action="append", choices=CHECKS, help="this check alone")
    parser.add_argument(
        "--output",
        type=Path,
        default=RECORD if torch.cuda.is_available() else None,
        help=f"where the JSON goes (with a card: {RECORD.relative_to(HERE.parent)})",
    )
    options = parser.parse_args()
    if options.data is not None:
        options.data = options.data.resolve()
        if not options.data.is_dir():
            parser.error(f"--data: there is no folder {options.data}")
    return options


if __name__ == "__main__":
    main()
