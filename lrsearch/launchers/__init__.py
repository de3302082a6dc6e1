"""The launchers, which start the workers of a sweep."""

from __future__ import annotations

from lrsearch.registry import Component, Registry

LAUNCHERS = Registry(
    "launcher",
    [
        Component(
            "local",
            "lrsearch.launchers.local.Launcher",
            help="processes on this machine, one for each GPU or core: what the command uses; no "
            "key of the configuration chooses a launcher as yet",
        ),
        Component(
            "here",
            "lrsearch.launchers.here.Launcher",
            help="the process that calls `lrsearch.search`: for functions of a notebook or script",
        ),
    ],
    where="launcher",
)
