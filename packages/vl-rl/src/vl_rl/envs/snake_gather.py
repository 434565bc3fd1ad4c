"""SnakeGather: a snake of five links that swims among apples and bombs."""

from __future__ import annotations

from vl_rl.envs.gather import GatherEnv

__all__ = ["SnakeGather"]

_LINKS = 5
_LENGTH = 0.5


def _links(number: int) -> str:
    """MJCF of the links behind the head, each inside the one before."""
    if number == _LINKS:
        return ""
    return (
        f'<body pos="{-_LENGTH} 0 0"><joint name="bend{number}" type="hinge" axis="0 0 1" limited="true" '
        f'range="-100 100" damping="0.2" armature="0.02"/>{_LINK}{_links(number + 1)}</body>'
    )


_LINK = f'<geom type="capsule" fromto="0 0 0 {-_LENGTH} 0 0" size="0.07" density="1000" contype="1" conaffinity="2"/>'
_MOTORS = "".join(f'<motor joint="bend{number}" gear="25" ctrlrange="-1 1"/>' for number in range(1, _LINKS))
# As in the swimmers of the literature, all force comes from the fluid around the links.
_ROBOT = f"""
<compiler angle="degree" inertiafromgeom="true"/>
<option timestep="0.005" integrator="implicitfast" gravity="0 0 0" density="4000" viscosity="0.1"/>
<worldbody>
  <body name="head">
    <joint type="slide" axis="1 0 0"/>
    <joint type="slide" axis="0 1 0"/>
    <joint type="hinge" axis="0 0 1"/>
    {_LINK}{_links(1)}
  </body>
</worldbody>
<actuator>{_MOTORS}</actuator>
"""


class SnakeGather(GatherEnv):
    """A swimming snake of five links, 2.5 m long. Actions: torques of its four joints; 13 entries are its own.

    A step takes 0.05 s. Registered as `vl_rl/SnakeGather-v0`, with 2000 steps an episode.

    Args:
        render_mode: `"rgb_array"` or None.

    Example:
        >>> env = SnakeGather()
        >>> observation, _ = env.reset(seed=0)
        >>> observation.shape, env.robot_size
        ((33,), 13)
    """

    def __init__(self, *, render_mode: str | None = None) -> None:
        super().__init__(_ROBOT, frame_skip=10, render_mode=render_mode)
