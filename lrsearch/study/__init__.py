"""The study: its tables, its queue of budget units, and all use of Optuna's storage."""
