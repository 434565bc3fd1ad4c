"""Models as the evaluation sees them: their scores of images against texts."""
