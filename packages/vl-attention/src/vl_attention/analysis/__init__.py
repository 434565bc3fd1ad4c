"""Analysis of trained models: attention maps, how similar they are, and accuracy under shifts."""
