"""Read files that may come from anywhere: every fault is a ValueError that names the file, and none costs more memory
than the file could fill.
"""

from vl_core.files._arrays import read_array
from vl_core.files._content import DEFLATE_RATIO, gunzip, parse_json, read_json, read_tensors, tensor_names
from vl_core.files._networks import check_sizes, limit_network

__all__ = [
    "DEFLATE_RATIO",
    "check_sizes",
    "gunzip",
    "limit_network",
    "parse_json",
    "read_array",
    "read_json",
    "read_tensors",
    "tensor_names",
]
