"""Writes docs/catalogue.md from the registries: `.venv/bin/python docs/catalogue.py`."""

from __future__ import annotations

from pathlib import Path

from lrsearch.registries import markdown

INTRODUCTION = """\
# The catalogue

What can be named in a configuration. Wherever one of these names may stand,
`{_target_: mypkg.Thing, ...}` may stand for code of your own:
[Extending lrsearch](extending.md) has an example of each.

Optimizers and schedulers are options of the search space: [Your own sweep](sweeps.md). Each
optimizer has `lr` besides its parameters. [How the search works](search.md) is about `sampler=auto`
and `pruner=schedule_aware`. Models, data, samplers, pruners and loggers are groups, of which one is
selected on the command line (`model=cnn`) or in a sweep's `defaults` (`- override /model: cnn`);
their parameters are keys (`model.dropout=0.1`, `pruner.keep=0.5`). Some groups have more options
than there are components: `model=mlp_small` and `model=linear` are an `mlp`,
`model=resnet18_pretrained` is a `resnet18` with ImageNet's weights, `space=finetune` is a space
for fine-tuning, and `space=bare` one in which nothing is searched but what the sweep names.
`python -m lrsearch --help` lists all options.

The tables below are made from the code by `docs/catalogue.py`.
"""


def page() -> str:
    """The whole page."""
    return f"{INTRODUCTION}\n{markdown()}\n"


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(), encoding="utf-8")
