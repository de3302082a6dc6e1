"""The fixed text of exported scripts, and the imports that a text needs."""

from __future__ import annotations

import re
from pathlib import Path

EVALUATE = '''
def evaluate(model, batches, n, autocast):
    """The mean of each measure over the n samples of the validation part."""
    totals = dict.fromkeys(MEASURES, torch.zeros((), device=DEVICE))
    model.eval()
    with torch.no_grad():
        for x, y in batches:
            with autocast:
                outputs = model(x)
                means = {name: measure(outputs, y) for name, measure in MEASURES.items()}
            totals = {name: total + means[name] * len(x) for name, total in totals.items()}
    model.train()
    return {name: float(total) / n for name, total in totals.items()}
'''

STREAMED = '''
class Seeded(torch.utils.data.Dataset):
    """A dataset whose random numbers are a function of the batch alone: (seed, indices)."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __getitems__(self, batch):
        seed, indices = batch
        random.seed(seed)
        numpy.random.seed(seed)
        torch.manual_seed(seed)
        several = getattr(self.dataset, "__getitems__", None)
        items = [self.dataset[index] for index in indices] if several is None else several(indices)
        return [tuple(map(as_tensor, item)) for item in items]


def streamed(dataset, batches, precision):
    """The batches (x, y) on the device, drawn anew in processes of their own."""
    loader = torch.utils.data.DataLoader(
        Seeded(dataset),
        batch_sampler=batches,
        num_workers=2,
        pin_memory=DEVICE.type == "cuda",
        generator=torch.Generator(),
    )
    for x, y in loader:
        x, y = in_precision(x, precision), in_precision(as_targets(y), precision)
        yield x.to(DEVICE, non_blocking=True), y.to(DEVICE, non_blocking=True)


def training_batches(dataset, epoch, precision):
    """The batches of an epoch; an incomplete last one is left out."""
    count = len(dataset) // BATCH_SIZE
    chosen = order(len(dataset), SEED, epoch)[: count * BATCH_SIZE].view(count, BATCH_SIZE)
    seeds = [derived_seed(SEED, "items", epoch, number) for number in range(count)]
    return streamed(dataset, list(zip(seeds, chosen.tolist())), precision)


def evaluation_batches(dataset, size, precision):
    """All samples in their order, with the same random numbers at each evaluation."""
    batches = [
        (derived_seed("items", start), list(range(start, min(start + size, len(dataset)))))
        for start in range(0, len(dataset), size)
    ]
    return streamed(dataset, batches, precision)
'''

MAIN = """
def main():
    torch.set_num_threads(THREADS)
    train, validation = load_data()
    {TO_DEVICE}
    {SEEDS}
    torch.manual_seed(SEED)
    model = build_model().to(DEVICE)
    {PRECISION}
    measure_loss = MEASURES["val_loss"]
    autocast = AUTOCAST
    {SCALER}
    {OPTIMIZER}
    {SCHEDULER}
    step, scheduled, epoch, values, losses = 0, 0, 0, [], []
    model.train()
    while step < STEPS:
        {BATCHES}
            optimizer.zero_grad()
            {BACKWARD}
            {STEP}
            {SCHEDULE}
            step += 1
            if step % EVALUATE_EVERY == 0 or step == STEPS:
                found = {"train_loss": sum(torch.stack(losses).tolist()) / len(losses)}
                {EVALUATION}
                losses = []
                values.append(found[METRIC])
                rate = optimizer.param_groups[0]["lr"]
                words = "  ".join(f"{name} {value:.6g}" for name, value in found.items())
                print(f"step {step}  lr {rate:.4g}  {words}", flush=True)
                {PLATEAU}
            if step == STEPS:
                break
        epoch += 1
    print(METRIC, PICK)


if __name__ == "__main__":
    main()
"""

OWN = """{docstring}

import inspect
import random
import sys
import tempfile

import numpy
import torch

from lrsearch.recipe import Recipe

sys.path.insert(0, {folder})  # where the sweep was run
from {module} import {name}

RECIPE = {recipe}
GIVEN = {{"seed": {seed}, "epochs": {epochs}, "should_stop": lambda: False}}


def report(epoch, val_loss, **metrics):
    print(epoch, val_loss, metrics, flush=True)


if __name__ == "__main__":
    torch.set_num_threads({threads})
    random.seed({seed})
    numpy.random.seed({seed})
    torch.manual_seed({seed})
    GIVEN["device"] = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    asked = inspect.signature({name}).parameters
    if "checkpoint_dir" in asked:
        GIVEN["checkpoint_dir"] = tempfile.mkdtemp()
    given = {{key: value for key, value in GIVEN.items() if key in asked}}
    {name}(Recipe.from_dict(RECIPE), report, **given{arguments})
"""

_MATHS = ("ceil", "cos", "e", "exp", "floor", "log", "pi", "sin", "sqrt")
_STANDARD = {
    "import contextlib": r"contextlib\.",
    "import functools": r"functools\.",
    "import hashlib": r"hashlib\.",
    "import math": r"math\.",
    "import random": r"random\.seed",
    "from collections.abc import Sequence": r"Sequence\[",
    "from itertools import pairwise": r"pairwise\(",
    "from pathlib import Path": r"Path\(",
}


def imports(body: str, own: list[str]) -> str:
    """The imports that the body uses."""
    lines = [line for line, used in _STANDARD.items() if re.search(rf"\b{used}", body)]
    formulas = " ".join(re.findall(r"lambda step: .*", body))
    maths = [name for name in _MATHS if re.search(rf"\b{name}\b", formulas)]
    if maths:
        lines.append(f"from math import {', '.join(maths)}")
    torch = ["import torch", *(["from torch import nn"] if re.search(r"\bnn\.", body) else [])]
    blocks = [["from __future__ import annotations"], lines, torch]
    if own:
        lines.append("import sys")
        torch.insert(0, "import numpy")
        where = f"sys.path.insert(0, {str(Path.cwd())!r})  # where the sweep was run"
        blocks += [[where], sorted(set(own))]
    lines.sort(key=lambda line: (line.startswith("from"), line))
    return "\n\n".join("\n".join(block) for block in blocks)


def fill(text: str, name: str, lines: list[str]) -> str:
    """Puts lines in the place of `{name}`, indented as it is; none take the place away."""
    return re.sub(
        rf"^( *)\{{{name}\}}\n",
        lambda match: "".join(f"{match[1]}{line}\n" for line in lines),
        text,
        flags=re.MULTILINE,
    )
