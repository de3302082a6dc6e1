"""Search the recipe of train.py as it is. Run it: python search.py"""

import lrsearch as lr

space = lr.Space(lr=lr.log(1e-4, 1.0), scheduler=["cosine", "wsd"], batch_size=[32, 64])
study = lr.search("train.py", space, n_trials=2, epochs=5, name="script", workers=1)
print(study.best)
