"""Evaluation of anything that scores images against texts, with ties counted and baselines beside every number."""
