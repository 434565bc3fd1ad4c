"""Attention inside a model: recording its inputs, and pairing the layers, heads and tokens of two models."""
