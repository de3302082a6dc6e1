"""The range test: a short training at a rising learning rate tells which rates train."""
