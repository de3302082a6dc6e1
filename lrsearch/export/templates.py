"""Render the Jinja2 templates of this folder as Python scripts.

Templates must write all values through filters, and writing plain text is an error, so that no text
of a configuration can become code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lrsearch.export.names import Names, needed_imports, taken_names
from lrsearch.export.source_text import SourceText, call_text, docstring, literal, source_of

_COPIED = {
    path.rpartition(".")[2]: path
    for path in (
        "lrsearch.seeds.derived_seed",
        "lrsearch.training.batches.order",
        "lrsearch.training.batches.augmented",
        "lrsearch.training.precision.precision_of",
        "lrsearch.training.precision.in_precision",
        "lrsearch.optimizers.modes.set_mode",
        "lrsearch.training.averaging.averaging",
        "lrsearch.training.early_stopping.evaluations_without_gain",
        "lrsearch.optimizers.parameter_groups.freeze",
        "lrsearch.optimizers.parameter_groups.as_it_is",
        "lrsearch.optimizers.parameter_groups.parameter_groups",
        "lrsearch.optimizers.parameter_groups.trainable",
        "lrsearch.optimizers.parameter_groups.rules_of",
        "lrsearch.optimizers.parameter_groups.levels",
        "lrsearch.optimizers.parameter_groups.head_names",
        "lrsearch.optimizers.parameter_groups.undecayed",
        "lrsearch.optimizers.parameter_groups.block_depths",
        "lrsearch.schedules.schedule.rate_factors",
        "lrsearch.measures.functions.weight_of_classes",
        "lrsearch.measures.shapes.alike",
        "lrsearch.measures.shapes.numbers",
        "lrsearch.measures.shapes.class_indices",
        "lrsearch.measures.shapes.class_targets",
        "lrsearch.data.nesting.map_tensors",
        "lrsearch.data.nesting.tensors_of",
        "lrsearch.data.nesting.samples_in",
        "lrsearch.data.nesting.pieces",
        "lrsearch.data.nesting.is_nesting",
        "lrsearch.data.nesting.as_nested",
        "lrsearch.data.nesting.stackable",
        "lrsearch.data.own.set_epoch",
        "lrsearch.training.layout.channels_last",
        "lrsearch.training.layout.in_layout",
        "lrsearch.data.values.as_tensor",
        "lrsearch.data.own.as_targets",
        "lrsearch.data.folds.fold_numbers",
        "lrsearch.data.folds.fold_parts",
        "lrsearch.data.sources.split",
        "lrsearch.data.sources.normalise",
    )
}
"""The functions of lrsearch that a template may copy, by name."""


def render(template: str, context: Callable[[Names], Mapping[str, Any]]) -> str:
    """Render a template, whose `context` chooses the names of imports by the given `Names`.

    The first rendering shows which names the script defines and which imports it needs; in the
    second the imports have names that are free.
    """
    page = environment().get_template(template)
    draft = page.render(context(names := Names()), imports=[], names=names)
    names = Names(taken_names(draft))
    imports = needed_imports(draft)
    return page.render(context(names), imports=imports, names=names)


@functools.cache
def environment() -> Environment:
    """Return Jinja2's environment of the templates."""
    environment = Environment(
        loader=PackageLoader("lrsearch.export", "."),
        undefined=StrictUndefined,
        autoescape=False,  # it writes Python, not HTML
        finalize=_only_source,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters = {
        "literal": literal,
        "call": call_text,
        "docstring": docstring,
        "copied": lambda name: source_of(_COPIED[name]),
        "laid_out": _laid_out,
        "indent": environment.filters["indent"],
    }
    return environment


def _laid_out(inputs: str, channels_last: bool) -> SourceText:
    """Return the source of a model's inputs, with their channels last if asked for."""
    return SourceText(
        f"{inputs}.contiguous(memory_format=torch.channels_last)" if channels_last else inputs
    )


def _only_source(value: Any) -> SourceText:
    """Return source unchanged. Raises TypeError for values that no filter has converted."""
    if not isinstance(value, SourceText):
        raise TypeError(f"a template writes {value!r} without a filter")
    return value
