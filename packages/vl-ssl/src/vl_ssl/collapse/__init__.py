"""Collapse of representations: streaming spectra, metrics of them, and an alarm."""
