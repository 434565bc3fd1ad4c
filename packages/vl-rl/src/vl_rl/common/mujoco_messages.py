"""MuJoCo's messages go to Python's logging, and never into a file of the folder that somebody works in.

MuJoCo prints each warning to the terminal and appends it to `MUJOCO_LOG.TXT` in the current folder, unless the process
has installed a function that receives the warnings. Gymnasium's HalfCheetah asks for the attribute `settotalmass`, of
whose coming removal MuJoCo 4.0 warns at each construction; nobody who uses that environment can do anything about it.
"""

from __future__ import annotations

import logging
from typing import Any

import gymnasium

from vl_rl.common.rendering import import_mujoco

__all__ = ["RoutedMessages", "route_mujoco_messages"]

_logger = logging.getLogger("vl_rl.mujoco")
_KNOWN = ("compiler attribute 'settotalmass' is deprecated",)
"""Beginnings of messages about models of gymnasium; they are logged at the level of debugging."""


def route_mujoco_messages() -> None:
    """Send MuJoCo's warnings to the logger ``vl_rl.mujoco``, once for this process; call it before building a model.

    From then on MuJoCo neither prints them nor writes ``MUJOCO_LOG.TXT``. The message about ``settotalmass`` in
    gymnasium's HalfCheetah has level ``DEBUG``, all others ``WARNING``. A function that the process installed itself
    with ``mujoco.set_mju_user_warning`` stays.

    Example:
        >>> route_mujoco_messages()
        >>> env = gymnasium.make("HalfCheetah-v5")
    """
    import_mujoco()
    import mujoco

    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_log)


class RoutedMessages:
    """Mixin of an algorithm of stable-baselines3: before it makes an environment of MuJoCo, messages are routed."""

    def __init__(self, policy: Any, env: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(env, str):
            spec = gymnasium.registry.get(env.partition(":")[2] or env)
            if spec is not None and "mujoco" in str(spec.entry_point):
                route_mujoco_messages()
        super().__init__(policy, env, *args, **kwargs)  # type: ignore[call-arg]


def _log(message: str) -> None:
    level = logging.DEBUG if message.startswith(_KNOWN) else logging.WARNING
    _logger.log(level, "MuJoCo: %s", message)
