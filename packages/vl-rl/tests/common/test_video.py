"""Videos can be read back, and the choice of a backend falls back."""

import os
import subprocess
import sys

import imageio.v3
import imageio_ffmpeg
import numpy as np
import pytest
from vl_rl.common import rendering
from vl_rl.common.video import write_gif, write_video

FRAMES = [np.full((15, 21, 3), 10 * i, dtype=np.uint8) for i in range(20)]


# The reader of imageio-ffmpeg leaves the pipes of its process to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_video_has_the_frames_that_were_given(tmp_path):
    write_video(tmp_path / "a.mp4", FRAMES, fps=10)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "a.mp4"))
    meta = next(reader)
    frames = [np.frombuffer(one, dtype=np.uint8).reshape(16, 22, 3) for one in reader]
    assert meta["fps"] == 10
    assert len(frames) == 20
    for one, other in zip(frames, FRAMES, strict=True):
        assert abs(one[:15, :21].mean() - other.mean()) < 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_an_animation_skips_frames_above_fifteen_per_second(tmp_path):
    write_gif(tmp_path / "a.gif", FRAMES, fps=30)
    assert imageio.v3.imread(tmp_path / "a.gif").shape == (10, 15, 21, 3)


@pytest.mark.parametrize("write", [write_video, write_gif])
@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        ([], 10, "frames must be at least one image"),
        ([FRAMES[0], FRAMES[0][:3]], 10, r"of one size, got uint8 of shape \(3, 21, 3\) at 1"),
        ([FRAMES[0].astype(float)], 10, "frames must be uint8"),
        (FRAMES, 0, "fps must be above 0"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, write, frames, fps, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "a", frames, fps=fps)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("display", "works", "expected", "tried"),
    [
        ("", "egl", "egl", ["egl"]),
        ("", "osmesa", "osmesa", ["egl", "osmesa"]),
        ("", "", None, ["egl", "osmesa"]),
        (":0", "glfw", "window", ["glfw"]),
        (":0", "egl", "egl", ["glfw", "egl"]),
    ],
)
def test_backends_are_tried_once_in_order(monkeypatch, display, works, expected, tried):
    for name in ("WAYLAND_DISPLAY", "MUJOCO_GL", "PYOPENGL_PLATFORM", "SDL_VIDEODRIVER"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(rendering, "_found", {})
    found = []
    monkeypatch.setattr(rendering, "_renders", lambda name: found.append(name) or name == works)
    assert rendering.choose_backend() == rendering.choose_backend() == expected
    assert found == tried
    assert os.environ["MUJOCO_GL"] == (expected if expected in rendering.BACKENDS else "")


def test_a_choice_is_left_alone(monkeypatch):
    monkeypatch.setattr(rendering, "_renders", lambda name: pytest.fail(f"{name} was tried"))
    monkeypatch.setenv("MUJOCO_GL", "egl")
    assert rendering.choose_backend() == "egl"


def test_mujoco_is_imported_where_the_chosen_backend_does_not_load():
    code = """
from vl_rl.common.rendering import choose_backend, explain_failure, import_mujoco
import_mujoco()
print(explain_failure(choose_backend(), "nothing"))
"""
    variables = {**os.environ, "MUJOCO_GL": "none such"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        "(MUJOCO_GL=none such does not work: nothing); to get video, unset MUJOCO_GL, install"
    )
