"""Denoising errors of images: evaluation, losses, weighting and aggregation."""
