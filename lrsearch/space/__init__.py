"""Search spaces: domains, the tree of branches, and how they are written in YAML."""
