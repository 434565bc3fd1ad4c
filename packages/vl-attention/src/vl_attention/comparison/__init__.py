"""Comparison of training from scratch, attention transfer and fine-tuning on the same labels."""
