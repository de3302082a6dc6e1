"""The training loop; it knows neither the tuner, nor the configuration files, nor the database."""
