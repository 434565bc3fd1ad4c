"""Parts that all methods share."""
