"""The report: one page with all findings of a study."""
