"""The kinds of values that parameters may have: numbers, durations, formulas and others."""
