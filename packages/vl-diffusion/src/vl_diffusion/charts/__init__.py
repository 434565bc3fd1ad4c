"""Images of results, each a function that writes one PNG."""
