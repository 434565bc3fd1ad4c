"""Gather: collect apples, keep away from bombs, with a robot that knows only what is near.

After Duan et al., "Benchmarking Deep Reinforcement Learning for Continuous Control", ICML 2016, section 4.3, as HiPPO
(Li et al., ICLR 2020) uses it. Two departures: objects lie on all even integers from -6 to 6 (the official code leaves
out 6), and the robot's own part of the observation has its velocity along and across its heading.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from vl_rl.common.mujoco_messages import route_mujoco_messages
from vl_rl.envs.canvas import Canvas

__all__ = ["GatherEnv"]

Floats = NDArray[np.float64]

ARENA = 7.0
"""Distance of the walls from the center."""
_APPLES, _BOMBS = 8, 8
_CATCH = 1.0
"""Distance of the robot's head at which an object is caught."""
_RANGE, _BINS = 6.0, 10
"""Range of the sensors, and the number of directions that they tell apart, for apples and for bombs."""
_CELLS = np.array([(x, y) for x in range(-6, 7, 2) for y in range(-6, 7, 2) if (x, y) != (0, 0)], dtype=np.float64)
_WALLS = "".join(
    f'<geom type="box" pos="{x} {y} 0" size="{0.1 + abs(y)} {0.1 + abs(x)} 0.5" contype="2" conaffinity="1"/>'
    for x, y in ((ARENA, 0), (-ARENA, 0), (0, ARENA), (0, -ARENA))
)


class GatherEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """An arena with eight apples (reward 1) and eight bombs (reward -1) around a robot in the plane.

    The robot's first three joints are x, y and the heading of its head. Observation: the robot's own state, which is
    the cosine and sine of the heading, its other joints, the head's velocity along and across the heading, and all
    other velocities; then for each of ten directions around the head, counterclockwise from behind it, `1 - d/6` of the
    nearest apple in range and 0 without one; then the same for bombs. `robot_size` entries belong to the robot: what a
    skill should see is `(0, env.unwrapped.robot_size)`.

    An episode terminates when all objects are caught. Contacts with the walls are physical and not observed.

    Args:
        robot: MJCF of the robot's bodies and of `actuator`, `option` and the like.
        frame_skip: Steps of the simulator per step of the environment.
        render_mode: `"rgb_array"` draws the arena from above, without any graphics library; or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012  # as gymnasium declares it

    def __init__(self, robot: str, *, frame_skip: int, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        route_mujoco_messages()
        self.model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{_WALLS}</worldbody>{robot}</mujoco>")
        self.data = mujoco.MjData(self.model)
        self.frame_skip = frame_skip
        self.render_mode = render_mode
        self.robot_size = 2 + (self.model.nq - 3) + self.model.nv
        self.objects: Floats = np.zeros((0, 2))
        """Positions of the objects that are left, `(N, 2)`."""
        self.worth: Floats = np.zeros(0)
        """1 for each apple and -1 for each bomb that is left."""
        unbounded = np.full(self.robot_size, np.inf, dtype=np.float32)
        unbounded[:2] = 1
        seen = np.ones(2 * _BINS, dtype=np.float32)
        self.observation_space = spaces.Box(
            np.concatenate([-unbounded, 0 * seen]), np.concatenate([unbounded, seen]), dtype=np.float32
        )
        self.action_space = spaces.Box(-1, 1, (self.model.nu,), dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Put the robot into the center, heading anywhere, and sixteen objects on different cells."""
        super().reset(seed=seed, options=options)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[2] = self.np_random.uniform(-np.pi, np.pi)
        self.data.qpos[3:] = self.np_random.uniform(-0.1, 0.1, self.model.nq - 3)
        mujoco.mj_forward(self.model, self.data)
        self.objects = self.np_random.choice(_CELLS, _APPLES + _BOMBS, replace=False)
        self.worth = np.repeat([1.0, -1.0], [_APPLES, _BOMBS])
        return self._observation(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move, and catch what is within reach of the head."""
        self.data.ctrl[:] = np.clip(action, -1, 1)
        mujoco.mj_step(self.model, self.data, self.frame_skip)
        caught = np.linalg.norm(self.objects - self.data.qpos[:2], axis=1) < _CATCH
        worth = self.worth[caught]
        self.objects, self.worth = self.objects[~caught], self.worth[~caught]
        info = {"apples": int((worth > 0).sum()), "bombs": int((worth < 0).sum())}
        return self._observation(), float(worth.sum()), not len(self.objects), False, info

    def _observation(self) -> NDArray[np.float32]:
        heading, velocity = self.data.qpos[2], self.data.qvel
        along = np.array([np.cos(heading), np.sin(heading)])
        across = np.array([-along[1], along[0]])
        body = [along, self.data.qpos[3:], [along @ velocity[:2], across @ velocity[:2]], velocity[2:]]
        return np.concatenate([*body, *self._sensors()]).astype(np.float32)

    def _sensors(self) -> Floats:
        """Intensity of the nearest apple and bomb by direction, `(2, bins)`."""
        offsets = self.objects - self.data.qpos[:2]
        distance = np.linalg.norm(offsets, axis=1)
        bearing = (np.arctan2(offsets[:, 1], offsets[:, 0]) - self.data.qpos[2] + np.pi) % (2 * np.pi)
        bins = np.minimum((bearing / (2 * np.pi) * _BINS).astype(int), _BINS - 1)
        sensors = np.zeros((2, _BINS))
        np.maximum.at(sensors, ((self.worth < 0).astype(int), bins), np.clip(1 - distance / _RANGE, 0, 1))
        return sensors

    def render(self) -> NDArray[np.uint8] | None:
        """Draw apples in green, bombs in red and the robot in blue, its head darker."""
        if self.render_mode is None:
            return None
        canvas = Canvas(ARENA + 0.1)
        for worth, color in ((1, (60, 160, 80)), (-1, (200, 60, 60))):
            canvas.dots(self.objects[self.worth == worth], radius=0.3, color=color)
        canvas.dots(self._outline(), radius=0.15, color=(110, 140, 220))
        canvas.dots(self.data.qpos[:2], radius=0.25, color=(30, 60, 180))
        along = np.array([np.cos(self.data.qpos[2]), np.sin(self.data.qpos[2])])
        canvas.dots(self.data.qpos[:2] + 0.25 * along, radius=0.1, color=(30, 60, 180))
        return canvas.image

    def _outline(self) -> Floats:
        """Points along the robot's capsules, `(N, 2)`."""
        capsules = np.flatnonzero(self.model.geom_type == mujoco.mjtGeom.mjGEOM_CAPSULE)
        axes = self.data.geom_xmat[capsules].reshape(-1, 3, 3)[:, :2, 2] * self.model.geom_size[capsules, 1:2]
        steps = np.linspace(-1, 1, 12)[:, None, None]
        points: Floats = (self.data.geom_xpos[capsules, :2] + steps * axes).reshape(-1, 2)
        return points
