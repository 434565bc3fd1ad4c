"""Embeddings of texts: word vectors that ship with the package, and sentence-transformers."""
