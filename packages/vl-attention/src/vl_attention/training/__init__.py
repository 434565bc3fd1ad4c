"""Training: settings and recipes, the order of pictures, augmentation, and one loop that resumes exactly."""
