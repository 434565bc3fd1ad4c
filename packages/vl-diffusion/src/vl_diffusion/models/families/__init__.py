"""Denoisers for the supported model families, one family per file."""
