"""Images that look alike: hashes, near-duplicates, filters, and the guard of test images."""
