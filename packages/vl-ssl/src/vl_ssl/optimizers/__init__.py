"""Optimizers and parameter groups for self-supervised learning."""
