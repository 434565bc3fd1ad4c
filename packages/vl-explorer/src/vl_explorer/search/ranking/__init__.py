"""Ranking of local captions: words, BM25 over an inverted index, and similarity of embeddings."""
