"""Names that the command knows: algorithms, hyper-parameters as rl-zoo3 writes them, and built-in ones."""
