"""`sweeps`: list the sweeps."""

from __future__ import annotations

from lrsearch.cli.catalogue import find_sweeps, sweep_list
from lrsearch.text.hints import printable


def list_sweeps(as_json: bool) -> None:
    """Print name and description of each sweep."""
    sweeps = find_sweeps()
    if not as_json:
        print(f"The sweeps (run one with: lrsearch +sweep=NAME):\n{sweep_list(sweeps)}")
        return
    from lrsearch.cli.arguments import print_json

    print_json(
        [
            {
                "name": printable(sweep.name),
                "description": sweep.description,
                "file": printable(str(sweep.path)),
                "problem": None if sweep.problem is None else printable(sweep.problem),
            }
            for sweep in sweeps.values()
        ]
    )
