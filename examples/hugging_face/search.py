"""Hugging Face's Trainer. Run it: python search.py"""

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import lrsearch as lr
from lrsearch.integrations.transformers import LrsearchCallback, last_checkpoint, length_of

# The class says whether the first token is among the small ones.
tokens = torch.randint(32, (300, 6), generator=torch.Generator().manual_seed(0))
rows = [{"input_ids": row, "labels": (row[0] < 16).long()} for row in tokens]


def train(trial):
    model = BertForSequenceClassification(
        BertConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    )
    arguments = TrainingArguments(
        output_dir=trial.checkpoint_dir, num_train_epochs=trial.epochs, seed=trial.seed,
        per_device_train_batch_size=trial.recipe.batch_size, eval_strategy="epoch",
        save_strategy="epoch", save_total_limit=1, report_to=[], disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(
        model, arguments, train_dataset=rows[:200], eval_dataset=rows[200:],
        optimizers=trial.recipe.build(model, length=length_of(arguments, 200)),
        callbacks=[LrsearchCallback(trial)],
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=last_checkpoint(trial))


if __name__ == "__main__":
    space = lr.Space(lr=lr.log(1e-4, 1e-1), scheduler=["linear", "cosine"], batch_size=[16, 32])
    print(lr.search(train, space, n_trials=2, epochs=2, name="hugging_face").best)
