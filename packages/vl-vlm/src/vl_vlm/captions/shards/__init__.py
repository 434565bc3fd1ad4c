"""WebDataset shards: tar files of samples, read by position."""
