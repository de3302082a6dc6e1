"""The exported script trains exactly as lrsearch does, whatever the recipe and the settings."""

from __future__ import annotations

import dataclasses
import math
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from reports import Collected

from lrsearch.checkpoints.store import NoCheckpoints
from lrsearch.cli.compose import load_settings
from lrsearch.data.prepare import prepare
from lrsearch.export.script import best_script
from lrsearch.export.templates import environment
from lrsearch.objectives.build import build_objective
from lrsearch.optimizers.group_rules import GroupRule
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS

SEED = 5
LAST_ACCURACY = ("metric.name=val_accuracy", "metric.mode=max")
CHANNELS = ("train.channels_last=true", "train.micro_batch=20", "train.amp=fp16")
pytestmark = pytest.mark.usefixtures("own_folder")

HEAD = GroupRule("head", "head", None, {"lr_factor": 3.0})
DECAY = GroupRule("no_decay", "no_decay", None, {"weight_decay": 0.0})
LAYERS = GroupRule("layer_decay", "layer_decay", None, {"decay": 0.7})
MUON = ComponentConfig("muon", {"adamw_factor": 0.3, "betas": [0.8, 0.99]})
MINE = GroupRule("mine", None, r"^body\.4", {"lr_factor": 0.5, "betas": [0.8, 0.99]})


def both(
    capsys: pytest.CaptureFixture[str], *overrides: str, **changes: Any
) -> tuple[float, float, str]:
    """The value as lrsearch trains it, as the script prints it, and the script."""
    length = [] if any("train.steps" in one for one in overrides) else ["train.epochs=3"]
    settings = load_settings(["+sweep=digits", *length, *overrides])
    known: dict[str, Any] = {
        "lr": 0.05,
        "batch_size": 64,
        "optimizer": ComponentConfig("sgd", {"momentum": 0.9}),
        "scheduler": ComponentConfig("cosine"),
    }
    recipe = Recipe(**(known | changes))
    found = Collected()
    info = prepare(settings.data)
    objective = build_objective(settings, info.to_json())
    objective.run(recipe, SEED, found, lambda: False, NoCheckpoints())
    values = [one.values[settings.metric.name] for one in found]
    value = min(values) if settings.reported_metric.at == "best" else values[-1]
    record = {"study": "s", "trial": 0, "metric": settings.metric.name, "at": settings.metric.at,
              "value": value, "recipe": recipe.to_dict(), "seed": SEED}  # fmt: skip
    tuned = prepare(settings.data.with_arguments(recipe.data))
    text = best_script(settings, tuned, record)
    Path("best.py").write_text(text)
    check_names("best.py")
    runpy.run_path("best.py", run_name="__main__")
    name, printed = capsys.readouterr().out.splitlines()[-1].split()
    assert name == settings.metric.name
    return value, float(printed), text


def check_names(script: str) -> None:
    """Each name that a script uses is defined, and each import is used."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--quiet", "--select", "F"]
    done = subprocess.run([*command, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("changes", [{}, {"warmup": "7st", "groups": (HEAD,)}], ids=["", "groups"])
@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_every_scheduler(
    capsys: pytest.CaptureFixture[str], name: str, changes: dict[str, Any]
) -> None:
    arguments = {"patience": "1st", "factor": 0.5} if name == "plateau" else {}
    scheduler = ComponentConfig(name, arguments)
    value, printed, _ = both(capsys, scheduler=scheduler, **changes)
    assert printed == value


@pytest.mark.parametrize(
    ("overrides", "changes"),
    [
        (["train.amp=bf16"], {}),
        (["train.amp=fp16"], {}),
        (["train.amp=fp16"], {"grad_clip": 0.5}),
        (["train.micro_batch=20", "metric.name=train_loss"], {}),
        (["train.micro_batch=20"], {"grad_clip": 0.5}),
        (["metric.name=train_loss"], {"batch_size": 50}),
        (["metric.name=val_accuracy", "metric.mode=max"], {}),
        (["train.eval_every=5st"], {}),
        (["train.steps=21"], {}),
        (["data.crop=1", "data.flip=true"], {}),
        (["model=cnn", "train.epochs=1"], {"model": {"width": 4, "dropout": 0.2}}),
        (["train.loss.name=cross_entropy", "train.loss.label_smoothing=0.1"], {}),
        (
            [
                "train.loss.name=cross_entropy",
                "train.loss.class_weights=balanced",
                "metric.name=train_loss",
            ],
            {},
        ),
        (
            [
                "train.loss.name=cross_entropy",
                "train.loss.label_smoothing=0.1",
                "train.loss.class_weights=[0,1,2,3,4,5,6,7,8,9.5]",
                "train.amp=bf16",
            ],
            {},
        ),
        (
            [
                "train.loss.name=cross_entropy",
                "train.loss.class_weights=[0,1,2,3,4,5,6,7,8,9.5]",
                "train.loss.ignore_index=3",
                "train.micro_batch=2",
                "metric.name=train_loss",
                "train.epochs=1",
            ],
            {},
        ),
        ([], {"groups": (HEAD, DECAY), "warmup": 0.2, "grad_clip": 1.0}),
        ([], {"groups": (HEAD,), "scheduler": ComponentConfig("plateau", {"patience": "1st"})}),
        (
            ["model=cnn", "train.epochs=1"],
            {
                "model": {"width": 4},
                "groups": (LAYERS, DECAY, MINE),
                "freeze": r"^body\.[01]\.",
                "optimizer": ComponentConfig("adamw"),
                "lr": 0.003,
            },
        ),
        ([], {"freeze": r"^body\.1\.", "grad_clip": 0.5}),
        ([], {"warmup": "7st"}),
        ([], {"groups": (HEAD,), "scheduler": ComponentConfig("one_cycle")}),
        ([], {"optimizer": MUON, "warmup": 0.2}),
        (
            ["train.amp=bf16", "train.micro_batch=20"],
            {"optimizer": MUON, "groups": (HEAD, DECAY), "grad_clip": 0.5},
        ),
        (
            ["model=cnn", "train.epochs=1"],
            {"model": {"width": 4}, "optimizer": MUON, "freeze": r"^body\.[01]\."},
        ),
        ([], {"data": {"size": 10}}),
        ([], {"batch_size": 5000}),
        ([], {"optimizer": ComponentConfig("adamw"), "lr": 0.003}),
        (["train.ema=0.9"], {"warmup": 0.2}),
        (["data.folds=3", "data.crop=1", "train.epochs=2"], {"warmup": 0.2}),
        (
            ["data.folds=2", "train.early_stopping={patience: 1, min_delta: 0.2}", "train.ema=0.8"],
            {"scheduler": ComponentConfig("plateau", {"patience": "1st"})},
        ),
        (
            ["train.early_stopping={patience: 2, min_delta: 0.5}"],
            {"scheduler": ComponentConfig("plateau", {"patience": "1st"})},
        ),
        (
            ["train.early_stopping=1", "train.eval_every=3st", *LAST_ACCURACY],
            {"lr": 0.3},
        ),
        (
            ["model=cnn", "train.epochs=1", "train.ema={decay: 0.9, warmup: true}", *CHANNELS],
            {"model": {"width": 4}, "groups": (HEAD,)},
        ),
    ],
)
def test_every_setting(
    capsys: pytest.CaptureFixture[str], overrides: list[str], changes: dict[str, Any]
) -> None:
    value, printed, _ = both(capsys, *overrides, **changes)
    assert printed == value


def test_the_users_own_code_is_imported_and_seeded_alike(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("exported_own.py").write_text(
        "import numpy, torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, n_outputs, width=8):\n"
        "        super().__init__()\n"
        "        self.scale = float(numpy.random.rand())\n"
        "        self.layer = torch.nn.Linear(64, n_outputs)\n"
        "    def forward(self, x):\n"
        "        return self.scale * self.layer(x.flatten(1))\n"
        "def gap(outputs, targets):\n"
        "    return (outputs.argmax(1) - targets).abs().float().mean()\n"
    )
    value, printed, text = both(
        capsys, "model._target_=exported_own.Net", "~model.hidden", "model.width=4",
        "train.metrics={gap: {_target_: exported_own.gap}}", "metric.name=val_gap",
        "metric.mode=min",
    )  # fmt: skip
    assert printed == value
    assert "from exported_own import Net" in text


@pytest.mark.parametrize("at", ["best", "last"])
@pytest.mark.parametrize("name", ["AdamWScheduleFree", "SGDScheduleFree"])
def test_an_optimizer_with_modes_is_switched(
    capsys: pytest.CaptureFixture[str], name: str, at: str
) -> None:
    optimizer = ComponentConfig.own_code(f"schedulefree.{name}", {"weight_decay": 0.01}, "free")
    value, printed, text = both(
        capsys, f"metric.at={at}", optimizer=optimizer, warmup=0.2,
        scheduler=ComponentConfig("constant"),
    )  # fmt: skip
    assert printed == value
    assert f"from schedulefree import {name}" in text


@pytest.mark.parametrize("freeze", [None, r"^body\.1\.bias"])
@pytest.mark.parametrize("scheduler", ["cosine", "plateau", "one_cycle", "cyclic"])
def test_groups_that_an_own_optimizer_makes_keep_their_ratio(
    capsys: pytest.CaptureFixture[str], scheduler: str, freeze: str | None
) -> None:
    Path("exported_groups.py").write_text(
        "import torch\n"
        "def split(groups, lr):\n"
        "    (group,) = groups\n"
        "    first, *rest = group['params']\n"
        "    parts = [{'params': rest, 'lr': 2 * lr}, {'params': [first], 'lr': lr,\n"
        "             'lr_scale': 0.7}]\n"
        "    return torch.optim.SGD(parts, lr=lr)\n"
    )
    arguments = {"cosine": {"final": 0.2}, "plateau": {"patience": "1st", "threshold": 0.9}}.get(
        scheduler, {}
    )
    value, printed, _ = both(
        capsys, warmup="5st", freeze=freeze,
        optimizer=ComponentConfig.own_code("exported_groups.split"),
        scheduler=ComponentConfig(scheduler, arguments),
    )  # fmt: skip
    assert printed == value


def test_an_own_plateau_keeps_its_kind_of_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    Path("exported_plateau.py").write_text(
        "import torch\n"
        "class Absolute(torch.optim.lr_scheduler.ReduceLROnPlateau):\n"
        "    def __init__(self, optimizer):\n"
        "        super().__init__(optimizer, factor=0.5, patience=0, threshold=0.2,\n"
        "                         threshold_mode='abs')\n"
        "def negative(outputs, targets):\n"
        "    return torch.nn.functional.cross_entropy(outputs, targets) - 10.0\n"
    )
    value, printed, _ = both(
        capsys, "train.loss={_target_: exported_plateau.negative}",
        "train.epochs=6", scheduler=ComponentConfig.own_code("exported_plateau.Absolute"),
    )  # fmt: skip
    assert printed == value


def test_own_code_may_have_any_name(capsys: pytest.CaptureFixture[str]) -> None:
    Path("exported_named.py").write_text(
        "import torch\n"
        "def load_data(n=80):\n"
        "    x = torch.arange(3.0 * n).reshape(n, 3) / n\n"
        "    return (x[:64], x[:64, 0].long() % 3), (x[64:], x[64:, 0].long() % 3)\n"
        "def build_model():\n"
        "    return torch.nn.Linear(3, 3)\n"
        "def order(outputs, targets):\n"
        "    return outputs.mean()\n"
    )
    Path("exported_other.py").write_text(
        "def order(outputs, targets):\n    return outputs.square().mean()\n"
    )
    metrics = "{a: {_target_: exported_named.order}, b: {_target_: exported_other.order}}"
    value, printed, _ = both(
        capsys, "data._target_=exported_named.load_data", "~model.hidden", "metric.mode=min",
        "model._target_=exported_named.build_model", f"train.metrics={metrics}",
        "metric.name=val_b",
    )  # fmt: skip
    assert printed == value


def test_the_script_of_a_pretrained_model_defines_what_it_uses() -> None:
    settings = load_settings(["+sweep=digits", "model=resnet18"])
    recipe = Recipe(0.1, 64, ComponentConfig("sgd"), ComponentConfig("cosine"))
    Path("best.py").write_text(
        best_script(settings, prepare(settings.data), hostile_record("s", recipe))
    )
    check_names("best.py")


def test_a_plateau_that_watches_a_value_below_zero_is_exported_as_it_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("exported_negative.py").write_text(
        "import torch\n"
        "def negative(outputs, targets):\n"
        "    return torch.nn.functional.cross_entropy(outputs, targets) - 10.0\n"
    )
    watching = {"patience": "1st", "factor": 0.1, "threshold": 0.05}
    value, printed, _ = both(
        capsys, "train.loss={_target_: exported_negative.negative}",
        "train.epochs=6", scheduler=ComponentConfig("plateau", watching),
    )  # fmt: skip
    assert printed == value


LABELS = (
    "import torch\n"
    "def load(n=80):\n"
    "    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))\n"
    "    y = (x > torch.tensor([0.0, 0.5, 1.0])).float()\n"
    "    return (x[:64], y[:64]), (x[64:], y[64:])\n"
    "class Net(torch.nn.Linear):\n"
    "    def __init__(self, n_outputs):\n"
    "        super().__init__(3, n_outputs)\n"
)
DENSE = (
    "import torch\n"
    "def load(n=80):\n"
    "    x = torch.randn(n, 1, 4, 5, generator=torch.Generator().manual_seed(0))\n"
    "    y = (x[:, 0] > 0).long() + (x[:, 0] > 1).long()\n"
    "    y[:, 0, 0] = -100\n"
    "    return (x[:64], y[:64]), (x[64:], y[64:])\n"
    "class Net(torch.nn.Conv2d):\n"
    "    def __init__(self, n_outputs):\n"
    "        super().__init__(1, n_outputs, 1)\n"
)


@pytest.mark.parametrize(
    ("module", "overrides"),
    [
        (
            "import torch\n"
            "def load(n=80):\n"
            "    x = torch.arange(3.0 * n).reshape(n, 3) / n\n"
            "    return (x[:64], x[:64].sum(1)), (x[64:], x[64:].sum(1))\n"
            "class Net(torch.nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.layer = torch.nn.Linear(3, 1)\n"
            "    def forward(self, x):\n"
            "        return self.layer(x).squeeze(-1)\n",
            ["train.metrics=[mae]", "train.loss.name=smooth_l1", "train.loss.beta=0.5"],
        ),
        (
            "import torch\n"
            "def load(n=80):\n"
            "    x = torch.arange(3.0 * n).reshape(n, 3) / n\n"
            "    y = torch.nn.functional.one_hot(torch.arange(n) % 3, 4)\n"
            "    return (x[:64], y[:64]), (x[64:], y[64:])\n"
            "class Net(torch.nn.Linear):\n"
            "    def __init__(self, n_outputs):\n"
            "        super().__init__(3, n_outputs)\n",
            ["train.metrics=[accuracy,top5_accuracy]"],
        ),
        (
            "import torch\n"
            "def load(n=80):\n"
            "    x = torch.arange(3.0 * n).reshape(n, 3) / n\n"
            "    return (x[:64], x[:64, 0].long() % 3), (x[64:], x[64:, 0].long() % 3)\n"
            "class Net(torch.nn.Linear):\n"
            "    def __init__(self):\n"
            "        super().__init__(3, 3)\n",
            ["train.loss={_target_: torch.nn.CrossEntropyLoss, label_smoothing: 0.1}"],
        ),
        (LABELS, []),
        (
            LABELS,
            [
                "train.loss.name=bce_with_logits",
                "train.loss.pos_weight=balanced",
                "train.metrics=[label_accuracy,sample_f1]",
            ],
        ),
        (
            DENSE,
            [
                "train.loss.name=cross_entropy",
                "train.loss.class_weights=balanced",
                "train.loss.label_smoothing=0.1",
                "train.metrics=[accuracy]",
            ],
        ),
    ],
)
def test_shapes_are_put_right_alike(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    overrides: list[str],
) -> None:
    monkeypatch.delitem(sys.modules, "exported_shapes", raising=False)
    Path("exported_shapes.py").write_text(module)
    value, printed, _ = both(
        capsys, "data._target_=exported_shapes.load", "model._target_=exported_shapes.Net",
        "~model.hidden", "metric.name=val_loss", "train.micro_batch=7",
        *overrides, batch_size=15,
    )  # fmt: skip
    assert printed == value


KINDS = """
import numpy
import torch
from torch import nn
from torch.utils.data import Dataset


def load(kind):
    generator = numpy.random.default_rng(0)
    parts = []
    for n in (96, 40):
        y = generator.integers(3, size=n)
        x = generator.normal(size=(n, 4)) + y[:, None]
        if kind == "ids":
            x = 2**24 + generator.integers(2, size=(n, 4)) + 2 * y[:, None]
        elif kind == "counts":
            x = generator.integers(9, size=(n, 4))
        elif kind == "complex":
            x = x + 1j * generator.normal(size=(n, 4))
        elif kind == "truths":
            x = x > 1
        elif kind == "numbers":
            y = x.mean(axis=1)
        part = Noisy(x, y) if kind == "dataset" else (x, y)
        parts.append(part)
    return parts


class Noisy(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index] + numpy.random.normal(size=4), self.y[index]


class Net(nn.Module):
    def __init__(self, n_outputs, kind):
        super().__init__()
        self.kind = kind
        wide = torch.float64 if kind in ("double", "numbers") else torch.float32
        self.first = nn.Linear(8 if kind == "complex" else 4, 16, dtype=wide)
        self.first = nn.Embedding(2**3, 4) if kind == "ids" else self.first
        self.head = nn.Linear(16, n_outputs, dtype=wide)

    def forward(self, x):
        if self.kind == "ids":
            x = self.first(x - 2**24).flatten(1)
        elif self.kind == "complex":
            x = self.first(torch.view_as_real(x).flatten(1))
        else:
            x = self.first(x.float() if self.kind == "truths" else x)
        return self.head(x.relu())
"""


@pytest.mark.parametrize(
    "kind", ["ids", "double", "single", "complex", "truths", "numbers", "dataset"]
)
def test_own_data_of_every_type(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    Path("exported_kinds.py").write_text(KINDS)
    value, printed, text = both(
        capsys, "~data.name", "data._target_=exported_kinds.load", f"data.kind={kind}",
        "model._target_=exported_kinds.Net", "~model.hidden", f"model.kind={kind}",
        "metric.name=train_loss", "train.epochs=10", batch_size=8,
    )  # fmt: skip
    assert printed == value
    assert value < 0.9, "something is learned"
    assert "lrsearch" not in text.split('"""', 2)[2]


AUGMENTED = """
import torch
from torch.utils.data import Dataset


class Augmented(Dataset):
    n_classes = 3

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index] + torch.randn(4, dtype=torch.float64), self.y[index]


def load(in_pairs=False):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(96) % 3
    x = torch.randn(96, 4, generator=generator, dtype=torch.float64) + y[:, None]
    validation = (x[64:], y[64:]) if in_pairs else Augmented(x[64:], y[64:])
    return Augmented(x[:64], y[:64]), validation


class Net(torch.nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.drop = torch.nn.Dropout(0.2)
        self.head = torch.nn.Linear(4, n_outputs)

    def forward(self, x):
        return self.head(self.drop(x))
"""


@pytest.mark.parametrize("in_pairs", [False, True])
def test_streamed_items_are_drawn_anew_in_each_epoch_with_the_same_seeds(
    capsys: pytest.CaptureFixture[str], in_pairs: bool
) -> None:
    Path("exported_stream.py").write_text(AUGMENTED)
    value, printed, text = both(
        capsys, "~data.name", "data._target_=exported_stream.load", f"data.in_pairs={in_pairs}",
        "data.in_memory=never", "model._target_=exported_stream.Net", "~model.hidden",
        "metric.name=val_loss", "train.micro_batch=20", batch_size=24,
    )  # fmt: skip
    assert printed == value
    assert "lrsearch" not in text.split('"""', 2)[2]


@pytest.mark.parametrize("kind", ["counts", "truths", "double"])
def test_models_of_the_catalogue_take_every_real_type(
    capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    Path("exported_kinds.py").write_text(KINDS)
    value, printed, _ = both(
        capsys, "~data.name", "data._target_=exported_kinds.load", f"data.kind={kind}",
        "train.amp=bf16",
    )  # fmt: skip
    assert printed == value


def test_a_script_imports_what_it_uses_and_nothing_of_lrsearch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, _, text = both(capsys, "train.epochs=1")
    code = text.split('"""', 2)[2]
    assert "lrsearch" not in code
    assert "generator" not in code.split("def main")[1]
    assert "GradScaler" not in code
    compile(text, "best.py", "exec")
    assert torch.get_num_threads() == 1


# Whatever the text

HOSTILE = [
    '"""', 'a"""b', '"', "\\", "a\\", "\\N{x}", "\n", "a\nimport os; os._exit(3)\n", "\r", "\0",
    "\x1b[31m", '"""\nraise SystemExit(3)\n"""', "METRIC PICK", "{SEEDS}", "{0}",
    "\udcff", "\u2028",
]  # fmt: skip


def hostile_record(text: str, recipe: Recipe) -> dict[str, Any]:
    return {
        "study": text, "trial": 0, "metric": text, "at": text, "value": 0.5, "seed": SEED,
        "recipe": recipe.to_dict(), "WARNING": text,
    }  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_breaks_the_script_or_runs_in_it(text: str) -> None:
    settings = load_settings(["+sweep=digits", "train.device=cpu"])
    metric = dataclasses.replace(settings.metric, name=text)
    model = ComponentConfig.own_code("shop_model.Net", {
        "a": text, text: 1, "class": [text, {text: (text,)}], "b": math.inf, "c": -math.nan,
    })  # fmt: skip
    Path("shop_model.py").write_text("def Net(**arguments): return arguments\n")
    recipe = Recipe(lr=0.1, batch_size=64, optimizer=ComponentConfig("sgd"),
                    scheduler=ComponentConfig("cosine"), model={"tuned": text})  # fmt: skip
    changed = dataclasses.replace(settings, metric=metric, model=model)
    info = prepare(settings.data)
    script = best_script(changed, info, hostile_record(text, recipe))
    found = run_script(script)
    made = found["build_model"]()
    assert made["a"] == made["tuned"] == text
    assert made["class"] == [text, {text: (text,)}]
    assert (made[text], made["b"]) == (1, math.inf)
    lines = found["__doc__"].splitlines()
    assert lines[-1].startswith("WARNING: ") or "\n" in text or "\r" in text or "\u2028" in text


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_breaks_the_script_of_an_own_objective(text: str) -> None:
    objective = {"_target_": "shop_loop.train", "a": text}
    settings = load_settings(["+sweep=digits"])
    target = ComponentConfig.own_code(objective["_target_"], {"a": text, text: 2})
    Path("shop_loop.py").write_text("def train(recipe, report, **arguments): ...\n")
    recipe = Recipe(lr=0.1, batch_size=64, optimizer=ComponentConfig("sgd"),
                    scheduler=ComponentConfig("cosine"), data={"tuned": text})  # fmt: skip
    changed = dataclasses.replace(settings, objective=target)
    found = run_script(best_script(changed, None, hostile_record(text, recipe)))
    assert found["RECIPE"] == recipe.to_dict()
    assert found["ARGUMENTS"] == {"a": text, text: 2}


def test_a_script_calls_an_own_objective_as_a_worker_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("shop_report.py").write_text(
        "def report(recipe, report, seed, epochs, n):\n"
        "    report(1, recipe.lr * n, seed=seed, epochs=epochs)\n"
    )
    settings = load_settings(["+sweep=digits", "train.epochs=3"])
    target = ComponentConfig.own_code("shop_report.report", {"n": 4, "seed": 7})
    recipe = Recipe(
        lr=0.5, batch_size=64, optimizer=ComponentConfig("sgd"), scheduler=ComponentConfig("cosine")
    )
    changed = dataclasses.replace(settings, objective=target)
    Path("best.py").write_text(best_script(changed, None, hostile_record("s", recipe)))
    check_names("best.py")
    runpy.run_path("best.py", run_name="__main__")
    assert capsys.readouterr().out == "epoch 1  val_loss 2.0  seed 7.0  epochs 3.0  lr 0.5\n"


def test_a_template_puts_out_nothing_but_source() -> None:
    page = environment().from_string("x = {{ value }}")
    with pytest.raises(TypeError, match="without a filter"):
        page.render(value="1; import os")
    assert environment().from_string("{{ value | literal }}").render(value="1") == "'1'"


def run_script(script: str) -> dict[str, Any]:
    """What a script defines, read from a file as Python reads it."""
    Path("best.py").write_text(script, encoding="utf-8")
    return runpy.run_path("best.py")


OWN_POOL = """
import torch


def load():
    generator = torch.Generator().manual_seed(1)
    parts = []
    for n in (61, 30):
        x = torch.randn(n, 64, dtype=torch.float64, generator=generator)
        parts.append((x, x[:, :3].argmax(1)))
    return parts
"""


@pytest.mark.parametrize("at", ["best", "last"])
def test_folds_of_own_data(capsys: pytest.CaptureFixture[str], at: str) -> None:
    Path("exported_pool.py").write_text(OWN_POOL)
    value, printed, text = both(
        capsys, "~data.name", "data._target_=exported_pool.load", "data.folds=4",
        "data.split_seed=3", "metric.name=val_loss", f"metric.at={at}", batch_size=16,
    )  # fmt: skip
    assert printed == value
    assert "FOLDS = 4" in text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_a_compiled_model_is_compiled_alike(capsys: pytest.CaptureFixture[str]) -> None:
    value, printed, text = both(capsys, "train.compile=default", "train.ema=0.9", "train.steps=20")
    assert printed == value
    assert 'model.compile(mode="default")' in text.replace("'", '"')


OWN_STEP = [
    "data._target_=own_steps.load", "model._target_=own_steps.Net", "~model.hidden",
    "train.loss_step={_target_: own_steps.step, noise: 0.1}",
]  # fmt: skip
COLLATED = [*OWN_STEP, "data.loader={collate_fn: {_target_: own_steps.collate}, num_workers: 0}"]
F1 = ["train.evaluate={_target_: own_steps.evaluate}", "metric.name=f1", "metric.mode=max"]


@pytest.mark.parametrize(
    "overrides",
    [
        [*OWN_STEP, "train.micro_batch=7"],
        [*OWN_STEP, *F1],
        [*OWN_STEP, "+data.kind=read", "train.amp=bf16"],
        [*COLLATED, "+data.kind=streamed", *F1],
        [*COLLATED, "+data.kind=sized"],
        [*COLLATED, "+data.kind=unsized", *F1, "train.steps=7", "train.eval_every=3st"],
        [
            "model=cnn", "model.width=4", "train.epochs=1", "train.channels_last=true",
            "train.loss_step={_target_: own_steps.mixup}", "data.crop=1",
            "metric.name=val_accuracy",
        ],
    ],
)  # fmt: skip
def test_own_steps_and_batches_of_any_form(
    capsys: pytest.CaptureFixture[str], overrides: list[str]
) -> None:
    value, printed, _ = both(capsys, *overrides, batch_size=16)
    assert printed == value
