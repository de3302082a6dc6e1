"""The keys whose values are always text, even `2024_01_05` and `3.10`."""

WORDS = (
    "description", "output_dir", "sweep",
    "study.name", "study.owner", "study.warm_start",
    "storage.url", "storage.checkpoints",
    "data.root", "data.cache",
    "logger.uri", "logger.experiment", "logger.folder",
)  # fmt: skip
