"""A model and an optimizer of timm's, with layer decay. Run it: python search.py"""

import timm
import torch
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch.nn.functional import cross_entropy

import lrsearch as lr

x = torch.randn(300, 3, 16, 16, generator=torch.Generator().manual_seed(0))
y = (x[..., 8:].mean(dim=(1, 2, 3)) > x[..., :8].mean(dim=(1, 2, 3))).long()


def train(trial):
    model = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, depth=2,
                              embed_dim=16, num_heads=2, num_classes=2)  # fmt: skip
    groups = param_groups_layer_decay(model, weight_decay=0.05, layer_decay=0.75)
    groups.reverse()  # the head first: its rate is the recipe's
    optimizer = create_optimizer_v2(groups, opt="adamw", lr=trial.recipe.lr)
    size = trial.recipe.batch_size
    length = lr.Length.of(n_train=200, batch_size=size, epochs=trial.epochs, drop_last=False)
    schedule = trial.recipe.build_schedule(optimizer, length)
    for epoch in range(1, int(trial.epochs) + 1):
        for batch in torch.randperm(200).split(size):
            optimizer.zero_grad()
            cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            loss = cross_entropy(model(x[200:]), y[200:])
        trial.report(epoch, val_loss=loss, step=schedule.last_epoch, optimizer=optimizer)


if __name__ == "__main__":
    space = lr.Space(lr=lr.log(1e-4, 1e-1), scheduler=["cosine", "one_cycle"], batch_size=[16, 32])
    print(lr.search(train, space, n_trials=2, epochs=2, name="timm").best)
