"""Test-time adaptation: a diffusion model teaches a classifier, segmenter or depth model on each picture it meets."""
