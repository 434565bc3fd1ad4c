"""PointGather: a disk that drives and turns, among apples and bombs."""

from __future__ import annotations

from vl_rl.envs.gather import GatherEnv

__all__ = ["PointGather"]

# The site turns with the body, so the first motor pushes along the heading. Top speed 2 m/s, top rate 3 rad/s.
_ROBOT = """
<option timestep="0.02" integrator="implicitfast" gravity="0 0 0"/>
<worldbody>
  <body name="point">
    <joint type="slide" axis="1 0 0" damping="5"/>
    <joint type="slide" axis="0 1 0" damping="5"/>
    <joint type="hinge" axis="0 0 1" damping="0.5"/>
    <geom type="cylinder" size="0.25 0.1" mass="1" contype="1" conaffinity="2"/>
    <site name="body" size="0.05"/>
  </body>
</worldbody>
<actuator>
  <motor site="body" gear="10 0 0 0 0 0" ctrlrange="-1 1"/>
  <motor site="body" gear="0 0 0 0 0 1.5" ctrlrange="-1 1"/>
</actuator>
"""


class PointGather(GatherEnv):
    """A disk of 1 kg. Actions: force along the heading, and torque; five entries of the observation are its own.

    A step takes 0.1 s. Registered as `vl_rl/PointGather-v0`, with 500 steps an episode.

    Args:
        render_mode: `"rgb_array"` or None.

    Example:
        >>> env = PointGather()
        >>> observation, _ = env.reset(seed=0)
        >>> observation.shape, env.robot_size
        ((25,), 5)
    """

    def __init__(self, *, render_mode: str | None = None) -> None:
        super().__init__(_ROBOT, frame_skip=5, render_mode=render_mode)
