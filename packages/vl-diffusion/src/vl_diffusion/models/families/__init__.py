"""What the classifier needs of each family of models, a file a family."""
