"""A module of Lightning. Run it: python search.py"""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrsearch as lr
from lrsearch.integrations.lightning import LrsearchCallback, configure_optimizers, last_checkpoint

x = torch.randn(600, 2, generator=torch.Generator().manual_seed(0))
data = TensorDataset(x, (x.square().sum(dim=1) < 1.4).long())


class Net(LightningModule):
    def __init__(self, recipe):
        super().__init__()
        self.recipe = recipe
        self.net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.log("val_loss", self.training_step(batch, index))

    def configure_optimizers(self):
        return configure_optimizers(self, self.recipe)


def train(trial):
    parts, size = torch.utils.data.random_split(data, [400, 200]), trial.recipe.batch_size
    loaders = DataLoader(parts[0], size, shuffle=True), DataLoader(parts[1], 200)
    trainer = Trainer(max_epochs=3, callbacks=[LrsearchCallback(trial)], logger=False)
    trainer.fit(Net(trial.recipe), *loaders, ckpt_path=last_checkpoint(trial), weights_only=True)


if __name__ == "__main__":
    lr.search(train, lr.Space(lr=lr.log(1e-4, 1.0)), n_trials=2, epochs=3, name="lightning")
