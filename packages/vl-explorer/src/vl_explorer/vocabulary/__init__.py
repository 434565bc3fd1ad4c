"""Concepts to search for: WordNet's nouns, label sets and own lists, and the queries and texts made of them."""
