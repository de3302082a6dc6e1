"""The launchers, which start the workers of a sweep."""

from __future__ import annotations

from lrsearch.registry import Component, Registry

LAUNCHERS = Registry(
    "launcher",
    [
        Component(
            "local",
            "lrsearch.launchers.local.Launcher",
            help="processes on this machine, one for each GPU or core; as yet the only one, so no "
            "key of the configuration chooses it",
        )
    ],
    where="launcher",
)
