"""Which trials are cut short: the rules, and what they are told about other trials."""
