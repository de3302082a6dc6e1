"""The report: one page with everything that a study has found out."""
