"""Forecast of accuracy from collapse metrics and the training loss."""
