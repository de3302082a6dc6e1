"""The launchers, which start the workers of a sweep. To add one: a module with a class that meets
`base.Launcher`, an entry in LAUNCHERS here, a YAML in conf/launcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import Component, ComponentConfig, Registry

if TYPE_CHECKING:
    from lrsearch.launchers.base import Launcher

LAUNCHERS = Registry(
    "launcher",
    [
        Component(
            "local",
            "lrsearch.launchers.local.Local",
            {"per_gpu": Parameter("int", 1, low=1, help="workers that share each GPU")},
            help="processes on this machine, one for each GPU or core",
        ),
    ],
    where="launcher",
)


def build_launcher(config: ComponentConfig) -> Launcher:
    """Make a launcher, of the catalogue or the user's own. Raises UserError or OwnCodeError."""
    component = LAUNCHERS.component(config)
    launcher: Launcher = component.load()(**component.complete(config.arguments))
    return launcher
