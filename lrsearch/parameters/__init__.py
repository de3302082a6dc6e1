"""What values a parameter may have: numbers, durations, formulas."""
