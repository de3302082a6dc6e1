"""A study: created, resumed, planned, and read."""
