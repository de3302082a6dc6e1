"""Find the learning-rate recipe of a PyTorch model.

The names in `__all__` are what the user's own code may import from here. Each is imported when it
is first used, so that `import lrsearch` alone costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrsearch.api.search import create_study, search
    from lrsearch.api.serve import serve
    from lrsearch.api.space import Space, integer, log, powers_of_two, uniform
    from lrsearch.api.study import Study, load_study
    from lrsearch.checkpoints.weights import load_weights
    from lrsearch.errors import (
        ConfigErrors,
        LrsearchError,
        OwnCodeError,
        TrialPruned,
        UserError,
    )
    from lrsearch.objectives.script import current_trial
    from lrsearch.objectives.trial import Trial
    from lrsearch.parameters.durations import Duration, Length
    from lrsearch.recipe import Preview, Recipe
    from lrsearch.registry import ComponentConfig
    from lrsearch.schedules.schedule import Schedule
    from lrsearch.workers.exit_codes import ExitCode

__version__ = "0.2.0"

__all__ = [
    "ComponentConfig",
    "ConfigErrors",
    "Duration",
    "ExitCode",
    "Length",
    "LrsearchError",
    "OwnCodeError",
    "Preview",
    "Recipe",
    "Schedule",
    "Space",
    "Study",
    "Trial",
    "TrialPruned",
    "UserError",
    "create_study",
    "current_trial",
    "integer",
    "load_study",
    "load_weights",
    "log",
    "powers_of_two",
    "search",
    "serve",
    "uniform",
]

_MODULES = {
    "lrsearch.api.search": ("create_study", "search"),
    "lrsearch.api.serve": ("serve",),
    "lrsearch.api.space": ("Space", "integer", "log", "powers_of_two", "uniform"),
    "lrsearch.api.study": ("Study", "load_study"),
    "lrsearch.checkpoints.weights": ("load_weights",),
    "lrsearch.errors": (
        "ConfigErrors",
        "LrsearchError",
        "OwnCodeError",
        "TrialPruned",
        "UserError",
    ),
    "lrsearch.objectives.script": ("current_trial",),
    "lrsearch.objectives.trial": ("Trial",),
    "lrsearch.recipe": ("Preview", "Recipe"),
    "lrsearch.registry": ("ComponentConfig",),
    "lrsearch.parameters.durations": ("Duration", "Length"),
    "lrsearch.schedules.schedule": ("Schedule",),
    "lrsearch.workers.exit_codes": ("ExitCode",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
