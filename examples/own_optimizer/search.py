"""An optimizer of your own beside AdamW, in lrsearch's own loop. Run it: python search.py"""

from sign import SignSGD

import lrsearch as lr

own = {"_target_": SignSGD, "lr": lr.log(1e-4, 1e-2), "momentum": lr.uniform(0.5, 0.99)}
space = lr.Space(
    lr=lr.log(1e-3, 1e-1), optimizer={"sign": own, "adamw": {}}, scheduler="cosine", batch_size=128
)
study = lr.search(
    None, space, data="digits", model="mlp_small", n_trials=4, epochs=5, name="own_optimizer",
    study={"balance": ["optimizer"]}, workers=0,
)  # fmt: skip
print(study.trials())
