"""Frames as video files, written with the ffmpeg that comes with imageio-ffmpeg."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vl_core.runs import atomic_write

Frames = Sequence[NDArray[np.uint8]]
"""Images ``(H, W, 3)`` of one size, uint8."""


def write_video(path: str | os.PathLike[str], frames: Frames, *, fps: float = 30.0) -> None:
    """Write an MP4 file (H.264) that browsers play.

    Sizes that are odd are extended by a row or column, which the format asks for.

    Args:
        path: File to write or replace, ``.mp4``; its folder must exist.
        frames: At least one image ``(H, W, 3)``, uint8, all of one size.
        fps: Frames per second.

    Raises:
        ValueError: If the frames are none such.
        OSError: If the file cannot be written.
    """
    height, width = _check(frames, fps)
    import imageio_ffmpeg

    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.mp4")
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    size = (width + width % 2, height + height % 2)
    writer: Any = imageio_ffmpeg.write_frames(
        str(temporary), size, fps=fps, codec="libx264", quality=7, macro_block_size=1, ffmpeg_log_level="error"
    )
    try:
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(np.pad(frame, padding, mode="edge")))
        writer.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_gif(path: str | os.PathLike[str], frames: Frames, *, fps: float = 30.0) -> None:
    """Write an animated GIF that repeats, at most 15 frames per second and 320 pixels wide.

    Args:
        path: File to write or replace; its folder must exist.
        frames: At least one image ``(H, W, 3)``, uint8, all of one size.
        fps: Frames per second of the given frames.

    Raises:
        ValueError: If the frames are none such.
        OSError: If the file cannot be written.
    """
    _, width = _check(frames, fps)
    import imageio.v3

    every, stride = max(1, round(fps / 15)), -(-width // 320)
    small = [frame[::stride, ::stride] for frame in frames[::every]]
    content = imageio.v3.imwrite("<bytes>", small, extension=".gif", duration=1000 * every / fps, loop=0)
    with atomic_write(path, "wb") as file:
        file.write(content)


def _check(frames: Frames, fps: float) -> tuple[int, int]:
    """Height and width of the frames."""
    if not len(frames):
        raise ValueError("frames must be at least one image, got none")
    for index, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != frames[0].shape:
            found = f"{frame.dtype} of shape {frame.shape}"
            raise ValueError(f"frames must be uint8 images (H, W, 3) of one size, got {found} at {index}")
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps must be above 0, got {fps}")
    return int(frames[0].shape[0]), int(frames[0].shape[1])
