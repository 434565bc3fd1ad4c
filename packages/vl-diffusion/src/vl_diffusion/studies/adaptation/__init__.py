"""Ways of adapting a classifier side by side, on images that are corrupted in many ways."""
