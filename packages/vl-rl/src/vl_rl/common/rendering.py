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

_WAYS = (
    "install EGL or OSMesa (on Debian and Ubuntu: apt-get install libegl1 or libosmesa6), "
    "or run on a machine with a display, and then `vl-rl render`"
)
ADVICE = f"to get video, {_WAYS}"
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
NO_BACKEND = "disable"
"""MuJoCo's word for no rendering at all."""

_SECONDS = 60
_VARIABLE = "MUJOCO_GL"
_WINDOW = "glfw"
_found: dict[str, str | None] = {}
"""Findings of this process: the choice among backends, and the one in the variable that did not load."""


def import_mujoco() -> None:
    """Import mujoco, also where the backend in the variable ``MUJOCO_GL`` does not load; nothing renders then."""
    try:
        import mujoco
    # Each backend has its own way to fail, such as a missing attribute of None.
    except Exception:
        if not os.environ.get(_VARIABLE):
            raise
        _found["broken"] = os.environ[_VARIABLE]
        os.environ[_VARIABLE] = NO_BACKEND
        import mujoco  # noqa: F401


def choose_backend() -> str | None:
    """Choose how MuJoCo renders, for this process and those that it starts; call it before mujoco is imported.

    A choice that was made in the variable ``MUJOCO_GL`` and systems other than Linux are left alone. Otherwise the
    display, if one is named, and then each backend is tried, once, in a process of its own, since a driver that fails
    can take its process with it.

    Returns:
        The backend, ``"window"`` for a display, or None if nothing works.
    """
    # pygame, which draws gymnasium's classic environments, greets on standard output.
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    display = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not display:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    if chosen := os.environ.get(_VARIABLE):
        return chosen
    if sys.platform != "linux":
        return "window"
    if "choice" not in _found:
        _found["choice"] = _try_backends(bool(display))
    return _found["choice"]


def explain_failure(backend: str | None, reason: str) -> str:
    """Say why rendering with a backend failed, and how to get video.

    Args:
        backend: What `choose_backend` returned.
        reason: The error.
    """
    if broken := _found.get("broken"):
        return f"({_VARIABLE}={broken} does not work: {reason}); to get video, unset {_VARIABLE}, {_WAYS}"
    if backend is None:
        return f"(neither EGL nor OSMesa works: {reason}); {ADVICE}"
    if backend == _found.get("choice"):
        # The backend works, so the environment does not.
        return f"({reason})"
    return f"(tried {backend}: {reason}); {ADVICE}"


def _try_backends(display: bool) -> str | None:
    """Find a backend that works, and choose it."""
    if display:
        if _renders(_WINDOW):
            return "window"
        os.environ["SDL_VIDEODRIVER"] = "dummy"
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
