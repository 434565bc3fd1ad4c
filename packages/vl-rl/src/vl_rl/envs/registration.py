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
    "vl_rl/PointReacher-v0": "vl_rl.envs.point_reacher:PointReacher",
    "vl_rl/PointTrajectory-v0": "vl_rl.envs.point_trajectory:PointTrajectory",
}
"""Class by name; each environment ends its episodes itself, without a `TimeLimit`."""


def register_envs() -> None:
    """Make ``gymnasium.make("vl_rl/PointTrajectory-v0")`` and its siblings known; a second call changes nothing."""
    for name, entry_point in _ENTRY_POINTS.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=entry_point)
