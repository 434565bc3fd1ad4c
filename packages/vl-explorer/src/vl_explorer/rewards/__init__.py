"""Rewards of images and of concepts: how much what was found looks like the target."""
