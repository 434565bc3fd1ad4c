"""Tasks: what is scored, and the metrics that are computed from stored scores."""
