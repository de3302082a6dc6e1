"""Sentences on whether the search space is right."""

from __future__ import annotations

from lrsearch.analysis.edges import LEAST_COMPLETE, Edge, Edges
from lrsearch.analysis.sentence import ForEach, Sentence, Table
from lrsearch.text.formatting import listed, number, percent, plural


def _lies(edge: Edge) -> str:
    end = "lower" if edge.side == "low" else "upper"
    return (
        f"The best {edge.name}, {number(edge.value)}, lies at the {end} edge of its range "
        f"({number(edge.end)})"
    )


def _few_have_it(edge: Edge) -> str:
    trials = plural(edge.complete, "complete trial")
    have = "has" if edge.complete == 1 else "have"
    return f"{_lies(edge)}. Only {trials} {have} it: too few to tell whether to widen the range."


def _wider(edge: Edge) -> str:
    lie = "lies" if edge.top == 1 else "lie"
    return (
        f"{_lies(edge)}; {edge.top} of the best {edge.top_of} complete trials that have it {lie} "
        f"there. To search further: {edge.override}."
    )


def _where(edges: Edges) -> str:
    checked = edges.checked
    ranges = "the edges of its range" if len(checked) == 1 else "the edges of all its ranges"
    return f"lies away from {ranges} ({listed(checked)})"


def _is_inside(edges: Edges) -> bool:
    return bool(edges.checked) and not edges.near


def _chance(edges: Edges) -> str:
    names: dict[str, list[str]] = {}
    for edge in edges.near:
        if edge.override is not None:
            names.setdefault(percent(edge.chance), []).append(edge.name)
    chances = "; ".join(f"{listed(some)}: {chance}" for chance, some in names.items())
    return (
        f"A best value lies so near to an edge by chance, too, where the parameter does not matter "
        f"({chances}): see what mattered before you pay for a wider search. The space of a study "
        f"is fixed, so a wider one is a new study."
    )


EDGE: Table[Edge] = (
    Sentence(
        "edges.no_further",
        lambda edge: edge.wider is None,
        lambda edge: f"{_lies(edge)}. Nothing lies beyond that edge.",
    ),
    Sentence(
        "edges.few_have_it",
        lambda edge: edge.wider is not None and edge.override is None,
        _few_have_it,
    ),
    Sentence("edges.wider", lambda edge: edge.override is not None, _wider),
)

EDGES: Table[Edges] = (
    Sentence(
        "edges.none",
        lambda edges: not edges.checked,
        lambda _: "There is no complete trial with a parameter that has a range to check.",
    ),
    Sentence(
        "edges.early",
        lambda edges: _is_inside(edges) and edges.complete < LEAST_COMPLETE,
        lambda edges: (
            f"The best recipe {_where(edges)}; with {plural(edges.complete, 'complete trial')} "
            f"that says little yet."
        ),
    ),
    Sentence(
        "edges.right",
        lambda edges: _is_inside(edges) and edges.complete >= LEAST_COMPLETE,
        lambda edges: f"The space looks right: the best recipe {_where(edges)}.",
    ),
    ForEach(lambda edges: edges.near, EDGE),
    Sentence("edges.chance", lambda edges: bool(edges.overrides), _chance),
)
