"""The environments' names in gymnasium, made known when `vl_rl` is imported.

Gymnasium 1.x looks for no plug-ins: `gymnasium.make` knows what an imported package has registered, or imports the
package itself where its name stands before the environment's, as in `vl_rl:vl_rl/PointTrajectory-v0`. Only names are
given here; an environment's module is imported when somebody makes it.
"""

import gymnasium

__all__ = ["register_envs"]

_ENTRY_POINTS = {
    "vl_rl/AntDirection-v0": "vl_rl.envs.ant_direction:AntDirection",
    "vl_rl/HalfCheetahMultiObjective-v0": "vl_rl.envs.half_cheetah:HalfCheetahMultiObjective",
    "vl_rl/PointGather-v0": "vl_rl.envs.point_gather:PointGather",
    "vl_rl/PointReacher-v0": "vl_rl.envs.point_reacher:PointReacher",
    "vl_rl/PointTrajectory-v0": "vl_rl.envs.point_trajectory:PointTrajectory",
    "vl_rl/SnakeGather-v0": "vl_rl.envs.snake_gather:SnakeGather",
}
"""Class by name."""
_TIME_LIMITS = {"vl_rl/PointGather-v0": 500, "vl_rl/SnakeGather-v0": 2000}
"""Steps after which gymnasium truncates an episode; the other environments end their episodes themselves."""


def register_envs() -> None:
    """Make ``gymnasium.make("vl_rl/PointTrajectory-v0")`` and its siblings known; a second call changes nothing."""
    for name, entry_point in _ENTRY_POINTS.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=entry_point, max_episode_steps=_TIME_LIMITS.get(name))
