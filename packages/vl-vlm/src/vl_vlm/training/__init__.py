"""Training of dual encoders: captions in batches, settings and recipes, and the loop."""
