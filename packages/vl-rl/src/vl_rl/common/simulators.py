"""Environments of dm_control and gymnasium-robotics on versions of MuJoCo that these packages do not know yet.

dm_control 1.0.50 asks MuJoCo for arrays that version 4.0 no longer has, and gymnasium-robotics 1.4.2 looks for a number
among enumeration members, which MuJoCo 3.12 and later do not compare as equal. Each repair looks for its cause first
and does nothing where there is none. The packages come with the extras ``dm-control`` and ``robotics``.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import gymnasium

__all__ = ["find_environments", "repair_dm_control", "repair_gymnasium_robotics"]

_DM_CONTROL = "dm_control/"


def find_environments(name: str) -> None:
    """Let gymnasium know environments of other packages, if `name` is not known and they are installed.

    Args:
        name: An id, such as ``"dm_control/cheetah-run-v0"`` or ``"FetchReach-v4"``.

    Raises:
        ModuleNotFoundError: If the id is one of dm_control and a package is missing; the message names the extra.
    """
    if name.startswith(_DM_CONTROL):
        for module in ("dm_control", "shimmy"):
            if find_spec(module) is None:
                raise ModuleNotFoundError(
                    f"{module} is not installed; it comes with `pip install 'vl-rl[dm-control]'`", name=module
                )
        import shimmy

        repair_dm_control()
        gymnasium.register_envs(shimmy)
    elif name not in gymnasium.registry and find_spec("gymnasium_robotics") is not None:
        import gymnasium_robotics

        gymnasium.register_envs(gymnasium_robotics)
        repair_gymnasium_robotics()


def repair_dm_control() -> list[str]:
    """Take the arrays that this MuJoCo has not out of dm_control's list of arrays.

    Returns:
        Their names; empty if nothing had to be done.
    """
    import mujoco
    from dm_control.mujoco.wrapper.mjbindings import sizes

    removed = []
    for kind, structure in (("mjmodel", mujoco.MjModel), ("mjdata", mujoco.MjData)):
        arrays = sizes.array_sizes[kind]
        missing = [name for name in arrays if not hasattr(structure, name)]
        for name in missing:
            del arrays[name]
        removed += missing
    return removed


def repair_gymnasium_robotics() -> bool:
    """Let gymnasium-robotics compare the kinds of joints as numbers.

    Returns:
        True if something had to be done.
    """
    import mujoco
    import numpy as np
    from gymnasium_robotics.utils import mujoco_utils

    hinge = mujoco.mjtJoint.mjJNT_HINGE
    if mujoco_utils.mujoco is not mujoco or np.int32(int(hinge)) in (hinge,):
        return False
    kinds = {name: int(member) for name, member in mujoco.mjtJoint.__members__.items()}
    mujoco_utils.mujoco = _Numbered(mujoco, SimpleNamespace(**kinds))
    return True


class _Numbered:
    """The module mujoco, with numbers for the kinds of joints."""

    def __init__(self, mujoco: Any, joints: SimpleNamespace) -> None:
        self._mujoco, self.mjtJoint = mujoco, joints

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mujoco, name)
