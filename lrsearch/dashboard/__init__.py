"""Optuna's dashboard behind a guard: who may see it, and who may change anything."""
