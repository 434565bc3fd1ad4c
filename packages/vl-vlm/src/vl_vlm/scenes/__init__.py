"""Procedural scenes: images, captions that are true of them, and pairs that differ in composition alone."""
