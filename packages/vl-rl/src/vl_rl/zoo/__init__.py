"""What the command knows by name: algorithms, hyper-parameters as rl-zoo3 writes them, and built-in ones."""
