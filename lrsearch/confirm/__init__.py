"""Confirmation: the best recipes of a search again on fresh seeds, and what that says of them."""
