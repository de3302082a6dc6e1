"""Static figures as files, drawn with Matplotlib, and the curves that they show."""
