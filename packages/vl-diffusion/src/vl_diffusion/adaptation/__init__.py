"""Test-time adaptation: a diffusion model teaches a classifier, segmenter or depth model on each image it meets."""
