"""Database and image files on the disk, and what brings them together after a kill."""
