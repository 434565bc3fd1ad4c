"""A teacher's use, in numbers: training from scratch, attention transfer and fine-tuning side by side."""
