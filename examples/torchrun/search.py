"""Search the recipe of train.py in two processes a trial. Run it: python search.py"""

import lrsearch as lr

space = lr.Space(lr=lr.log(1e-4, 1.0), batch_size=[32, 64])
torchrun = ["python", "-m", "torch.distributed.run"]  # `torchrun`, wherever it is installed
command = [*torchrun, "--standalone", "--nproc-per-node=2", "train.py"]
lr.search({"command": command}, space, n_trials=2, epochs=5, name="torchrun", workers=1)
