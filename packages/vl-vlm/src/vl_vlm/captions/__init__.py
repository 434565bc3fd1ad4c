"""Images with captions: one type for folders, tables and shards."""
