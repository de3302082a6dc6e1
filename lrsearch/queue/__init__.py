"""The queue of a study: work that one owner has at a time, how it is claimed and how it ends."""
