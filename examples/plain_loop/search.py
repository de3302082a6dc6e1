"""A training loop of your own: a function that takes a trial. Run it: python search.py"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import lrsearch as lr

images, classes = load_digits(return_X_y=True)
x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(classes)
N_TRAIN = 1437  # the rest validates


def train(trial):
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    steps = -(-N_TRAIN // trial.recipe.batch_size)  # of an epoch
    optimizer, schedule = trial.recipe.build(model, steps=5 * steps)
    for epoch in range(1, 6):
        for batch in torch.randperm(N_TRAIN).split(trial.recipe.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            outputs = model(x[N_TRAIN:])
        loss = nn.functional.cross_entropy(outputs, y[N_TRAIN:])
        accuracy = (outputs.argmax(dim=1) == y[N_TRAIN:]).float().mean()
        trial.report(epoch, val_loss=loss, accuracy=accuracy, step=epoch * steps)
    trial.keep_weights(model)


if __name__ == "__main__":
    space = lr.Space(
        lr=lr.log(1e-4, 1.0), scheduler=["cosine", "wsd"], batch_size=lr.powers_of_two(32, 256)
    )
    study = lr.search(train, space, n_trials=6, epochs=5, name="plain_loop")
    print(study.best)
