"""Which classes get how many draws: searches for the class with the smallest denoising error.

A draw is a pair of a time step and a noise. A search has M of them, numbered by time step from 0 to M - 1, and decides
which classes see which draws.
"""

from vl_diffusion.search.exhaustive import Exhaustive
from vl_diffusion.search.grids import nested_order
from vl_diffusion.search.protocol import Problem, Request, Search
from vl_diffusion.search.staged import Grid, Staged

__all__ = [
    "Exhaustive",
    "Grid",
    "Problem",
    "Request",
    "Search",
    "Staged",
    "nested_order",
]
