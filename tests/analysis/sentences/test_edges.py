"""What is said of best values at the edges of their ranges."""

from __future__ import annotations

from dataclasses import replace

import pytest
from said import Example, check, names

from lrsearch.analysis.edges import Edge, Edges
from lrsearch.analysis.sentences.edges import EDGES

EDGE = Edge("lr", 0.95, "high", 1.0, 10.0, "space.lr.high", 12, 2, 10, 0.2)
LAST = replace(EDGE, name="warmup", value=0.0, side="low", end=0.0, wider=None)
RARE = replace(EDGE, complete=1, top=1, top_of=1)
NONE = Edges((), ())
INSIDE = Edges((("lr", (0.5,)), ("warmup", (0.4,))), (), 12)
NEAR = Edges((("lr", (0.97,)),), (EDGE,), 12)
EXAMPLES = {
    "edges.none": Example(
        NONE, "There is no complete trial with a parameter that has a range to check.", INSIDE
    ),
    "edges.early": Example(
        replace(INSIDE, places=INSIDE.places[:1], complete=3),
        "The best recipe lies away from the edges of its range (lr); with 3 complete trials that "
        "says little yet.",
        INSIDE,
    ),
    "edges.right": Example(
        INSIDE,
        "The space looks right: the best recipe lies away from the edges of all its ranges (lr and "
        "warmup).",
        NEAR,
    ),
    "edges.no_further": Example(
        LAST,
        "The best warmup, 0, lies at the lower edge of its range (0). Nothing lies beyond that "
        "edge.",
        EDGE,
    ),
    "edges.few_have_it": Example(
        RARE,
        "The best lr, 0.95, lies at the upper edge of its range (1). Only 1 complete trial has it: "
        "too few to tell whether to widen the range.",
        EDGE,
    ),
    "edges.wider": Example(
        EDGE,
        "The best lr, 0.95, lies at the upper edge of its range (1); 2 of the best 10 complete "
        "trials that have it lie there. To search further: space.lr.high=10.",
        LAST,
    ),
    "edges.chance": Example(
        NEAR,
        "A best value lies so near to an edge by chance, too, where the parameter does not matter "
        "(lr: 20 %): see what mattered before you pay for a wider search. The space of a study is "
        "fixed, so a wider one is a new study.",
        INSIDE,
    ),
}


@pytest.mark.parametrize("name", names(EDGES))
def test_a_sentence_is_said_where_it_is_true(name: str) -> None:
    check(EDGES, name, EXAMPLES)
