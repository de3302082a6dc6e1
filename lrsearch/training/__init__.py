"""Training: one loop, which knows neither the tuner, nor the configuration, nor the database."""
