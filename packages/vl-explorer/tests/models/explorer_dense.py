"""The textbook posterior of a Gaussian process, from dense matrices."""

import numpy as np


def dense_posterior(embeddings, indices, rewards, *, length_scale=1.0, signal_variance=1.0, noise=0.5):
    """Mean and variance ``(N,)`` of every concept; each observation is a row, repeated or not."""
    squares = ((embeddings[:, None] - embeddings) ** 2).sum(-1)
    kernel = signal_variance * np.exp(-squares / 2 / length_scale**2)
    inverse = np.linalg.inv(kernel[np.ix_(indices, indices)] + noise * np.eye(len(indices)))
    cross = kernel[:, indices]
    return cross @ inverse @ rewards, np.diag(kernel - cross @ inverse @ cross.T)


def unit_rows(count, width, seed=0):
    """Random embeddings of unit length, ``(count, width)``."""
    rows = np.random.default_rng(seed).standard_normal((count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
