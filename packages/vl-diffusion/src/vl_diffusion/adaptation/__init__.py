"""Test-time adaptation: a diffusion model corrects a classifier, segmenter or depth model on each image."""
