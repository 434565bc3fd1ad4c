"""Rendering on machines without a display.

MuJoCo draws with OpenGL, which needs a window, unless it is told to use EGL (a GPU's driver, or Mesa's) or OSMesa (in
memory, on any machine that has the library). The choice is an environment variable that counts when mujoco is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys

BACKENDS = ("egl", "osmesa")
"""Backends without a display, in the order in which they are tried."""

ADVICE = (
    "to get video, install EGL or OSMesa (on Debian and Ubuntu: apt-get install libegl1 or libosmesa6), "
    "or run on a machine with a display, and then `vl-rl render`"
)
"""Advice for a machine where nothing renders."""

_TRIAL = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 16, 16) as renderer:
    renderer.update_scene(data)
    assert renderer.render().shape == (16, 16, 3)
"""
_SECONDS = 60
_VARIABLE = "MUJOCO_GL"


def choose_backend() -> str | None:
    """Choose how MuJoCo renders, for this process and those that it starts; call it before mujoco is imported.

    A choice that was made in the variable ``MUJOCO_GL``, a display, and systems other than Linux are left alone.
    Otherwise each backend is tried in a process of its own, since a driver that fails can take its process with it.

    Returns:
        The backend, ``"window"`` where there is a display, or None if nothing works.
    """
    # pygame, which draws gymnasium's classic environments, greets on standard output.
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    elif not os.environ.get(_VARIABLE):
        return "window"
    if chosen := os.environ.get(_VARIABLE):
        return chosen
    for backend in BACKENDS:
        if _renders(backend):
            os.environ[_VARIABLE] = os.environ["PYOPENGL_PLATFORM"] = backend
            return backend
    return None


def _renders(backend: str) -> bool:
    variables = {**os.environ, _VARIABLE: backend, "PYOPENGL_PLATFORM": backend}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRIAL], env=variables, capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
