"""Learning-rate schedules: relative durations and the families of torch.optim.lr_scheduler."""
