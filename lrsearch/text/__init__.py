"""Text: formatting of numbers, hints for error messages, redaction of secrets, commands, YAML."""
