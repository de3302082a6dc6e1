"""Text: numbers and hints for people, secrets left out, shell words, YAML."""
