"""Augmentation: two views of each image, by recipe."""
