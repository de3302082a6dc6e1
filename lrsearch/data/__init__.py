"""The data of a sweep: read once by the parent, cached as tensors, shared by all workers.

    info = prepare(spec)            # in the parent; a cache hit imports no torch
    parts = open_parts(spec, info)  # in each worker; memory-mapped
"""

from lrsearch.data.parts import Part, Parts, StreamedPart, TensorPart, open_parts
from lrsearch.data.prepare import prepare
from lrsearch.data.sources import SOURCES, Source
from lrsearch.data.spec import DataInfo, DataSpec

__all__ = [
    "SOURCES",
    "DataInfo",
    "DataSpec",
    "Part",
    "Parts",
    "Source",
    "StreamedPart",
    "TensorPart",
    "open_parts",
    "prepare",
]
