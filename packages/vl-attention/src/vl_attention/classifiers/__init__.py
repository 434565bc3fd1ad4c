"""Classifiers to train, to combine into an ensemble, and to save and load."""
