"""The database: tables, engines, clock, outages, versions, and the bridge to Optuna."""
