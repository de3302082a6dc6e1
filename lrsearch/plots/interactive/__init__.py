"""Interactive figures of a study for the report and the dashboard, drawn with Plotly."""
