"""Ways of adapting a classifier side by side, on pictures that are corrupted in many ways."""
