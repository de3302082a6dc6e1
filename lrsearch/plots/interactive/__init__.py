"""Figures of a study, drawn with Plotly: for the report and for the dashboard."""
