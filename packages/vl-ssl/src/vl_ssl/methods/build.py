"""Methods by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from vl_ssl.methods.byol import BYOL
from vl_ssl.methods.method import SiameseMethod
from vl_ssl.methods.moco_v3 import MoCoV3
from vl_ssl.methods.nnsiam import NNSiam
from vl_ssl.methods.simclr import SimCLR
from vl_ssl.methods.simsiam import SimSiam
from vl_ssl.methods.vicreg import VICReg

METHODS: dict[str, type[SiameseMethod]] = {
    "simsiam": SimSiam,
    "byol": BYOL,
    "moco-v3": MoCoV3,
    "nnsiam": NNSiam,
    "simclr": SimCLR,
    "vicreg": VICReg,
}
"""Every method by the name that `build_method` and commands know it by; add yours here."""

ABLATIONS: Mapping[str, Mapping[str, bool]] = {
    "none": {},
    "no-predictor": {"predictor": False},
    "no-stop-gradient": {"stop_gradient": False},
}
"""Settings by which SimSiam and BYOL lose a part that keeps them from collapse, for studies."""


def build_method(name: str, backbone: nn.Module, **settings: Any) -> SiameseMethod:
    """Make a method by its name.

    Args:
        name: ``"simsiam"``, ``"byol"``, ``"moco-v3"``, ``"nnsiam"``, ``"simclr"`` or ``"vicreg"``.
        backbone: From images ``(B, C, H, W)`` to features ``(B, d)``.
        settings: Keyword arguments of the method.

    Returns:
        The method, initialized from PyTorch's generator.

    Raises:
        TypeError: If the method has no such setting.
        ValueError: If there is no such method, or as the method says.

    Example:
        >>> type(build_method("byol", nn.Linear(4, 8), num_features=8)).__name__
        'BYOL'
    """
    if name not in METHODS:
        raise ValueError(f"name must be one of {', '.join(METHODS)}, got {name!r}; choose one of them")
    known = [key for key in inspect.signature(METHODS[name]).parameters if key != "backbone"]
    unknown = sorted(settings.keys() - set(known))
    if unknown:
        raise TypeError(f"settings of {name} must be among {', '.join(known)}, got {', '.join(unknown)}; remove them")
    return METHODS[name](backbone, **settings)
