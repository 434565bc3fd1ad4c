"""Training: settings and recipes, the order of images, augmentation, and one loop that resumes exactly."""
