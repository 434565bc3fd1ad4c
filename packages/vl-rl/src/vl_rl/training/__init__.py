"""Training of one run with exact resume, and of several runs side by side."""
