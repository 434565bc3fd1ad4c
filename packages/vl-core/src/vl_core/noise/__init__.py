"""Noise as a pure function of its key: the same key gives the same numbers in any batch, order or process.

A generator hands out numbers in the order they are asked for, so a result drawn from one depends on the batch size, the
number of devices and every interruption. Here a row of noise is addressed instead: by seed, image and draw.
"""

from vl_core.noise._gaussian import gaussian
from vl_core.noise._keys import make_keys
from vl_core.noise._philox import philox

__all__ = ["gaussian", "make_keys", "philox"]
