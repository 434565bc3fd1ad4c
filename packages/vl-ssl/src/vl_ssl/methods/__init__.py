"""Methods: siamese self-supervised learning, a file each."""
