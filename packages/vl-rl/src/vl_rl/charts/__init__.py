"""Charts of results; each function writes one PNG."""
