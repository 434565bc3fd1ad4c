"""A page to watch: what a run has done so far, served on this machine or written as one file."""
