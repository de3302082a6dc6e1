"""A script that is a trial. By hand: python train.py, or python train.py --recipe best.yaml"""

import torch
from torch import nn

import lrsearch

DEFAULTS = {"lr": 0.01, "batch_size": 32, "optimizer": "adamw", "scheduler": "cosine"}
trial = lrsearch.current_trial(defaults=DEFAULTS)
x = torch.linspace(-3, 3, 400)[torch.randperm(400)][:, None]
y = torch.sin(x)
model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
steps = -(-320 // trial.recipe.batch_size)  # of an epoch
optimizer, schedule = trial.recipe.build(model, steps=5 * steps)
for epoch in range(1, 6):
    for batch in torch.randperm(320).split(trial.recipe.batch_size):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[batch]), y[batch]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        loss = nn.functional.mse_loss(model(x[320:]), y[320:])
    trial.report(epoch, val_loss=loss, step=epoch * steps)
