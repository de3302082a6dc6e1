"""Optuna samplers and pruners of the user's own, for trials that are kept in our tables."""
