"""Learners: networks that are trained on what was found, and say what images look like."""
