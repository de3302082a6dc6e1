"""Learning-rate schedules: the schedulers, and a warm-up and one of them as one torch scheduler."""
