"""A script that torchrun starts in two processes, which train together (DDP)."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import lrsearch

trial = lrsearch.current_trial()  # the same on every rank
dist.init_process_group("gloo")
x = torch.linspace(-3, 3, 400)[torch.randperm(400)][:, None]  # the same, too: the seed is
y = torch.sin(x)
model = DistributedDataParallel(nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1)))
size = trial.recipe.batch_size // dist.get_world_size()
mine = torch.arange(dist.get_rank(), 320, dist.get_world_size())
steps = -(-len(mine) // size)  # of an epoch
optimizer, schedule = trial.recipe.build(model, steps=5 * steps)
for epoch in range(1, 6):
    for batch in mine[torch.randperm(len(mine))].split(size):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[batch]), y[batch]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        loss = nn.functional.mse_loss(model.module(x[320:]), y[320:])
    trial.report(epoch, val_loss=loss, step=epoch * steps)  # that of rank 0 counts
    if trial.should_stop():  # all ranks leave together
        break
dist.destroy_process_group()
