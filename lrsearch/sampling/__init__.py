"""The sampler of lrsearch's own: a model over the joint space that learns from every trial."""
