"""Attention transfer: the training module, its losses, and attention copied from a teacher."""
