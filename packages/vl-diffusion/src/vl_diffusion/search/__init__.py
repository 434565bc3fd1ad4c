"""Search strategies for the class with the smallest denoising error.

A draw is a pair of a time step and a noise sample. A search has M draws, numbered 0 to M - 1 by time step, and decides
which classes are evaluated on which draws.
"""

from vl_diffusion.search.draw_order import Grid, nested_order
from vl_diffusion.search.evidence import Bound
from vl_diffusion.search.exhaustive import Exhaustive
from vl_diffusion.search.halving import Halving
from vl_diffusion.search.protocol import Request, Search, SearchInput, SearchResult
from vl_diffusion.search.racing import Aim, Racing
from vl_diffusion.search.shortlist import Shortlist
from vl_diffusion.search.staged import Staged
from vl_diffusion.search.tree import LabelTree
from vl_diffusion.search.wordnet import wordnet_tree

__all__ = [
    "Aim",
    "Bound",
    "Exhaustive",
    "Grid",
    "Halving",
    "LabelTree",
    "Racing",
    "Request",
    "Search",
    "SearchInput",
    "SearchResult",
    "Shortlist",
    "Staged",
    "nested_order",
    "wordnet_tree",
]
