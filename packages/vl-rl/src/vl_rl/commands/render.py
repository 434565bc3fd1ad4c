"""`vl-rl render`: videos of trained models."""

from __future__ import annotations

from vl_core.devices import find_device
from vl_core.progress import progress_bar

from vl_rl.charts.frames import draw_frames
from vl_rl.commands._tables import file_name, number
from vl_rl.commands.settings.render import Render
from vl_rl.common.video import write_gif, write_video
from vl_rl.training.playing import film
from vl_rl.training.saved_runs import by_method, find_runs


def run(settings: Render) -> None:
    """Write a video and a sheet of frames of the first seed of each method.

    Raises:
        ValueError: If an argument or a model is invalid.
        OSError: If a folder is missing or holds no finished run, or nothing renders here; the message says what to do.
    """
    settings.check()
    device = find_device(settings.device)
    firsts = {label: group[0] for label, group in by_method(find_runs(settings.runs)).items()}
    written = []
    for label, one in progress_bar(firsts.items(), unit="videos", desc="rendering"):
        shot = film(
            one,
            episodes=settings.episodes,
            max_steps=settings.max_steps,
            seed=settings.seed,
            deterministic=not settings.stochastic,
            device=device,
        )
        settings.out.mkdir(parents=True, exist_ok=True)
        path = settings.out / f"{file_name(label)}.mp4"
        fps = settings.fps or shot.fps
        write_video(path, shot.frames, fps=fps)
        if settings.gif:
            write_gif(path.with_suffix(".gif"), shot.frames, fps=fps)
        returns = [
            number(value) + " (cut off)" * is_partial
            for value, is_partial in zip(shot.returns, shot.partial, strict=True)
        ]
        played = f"{one.label} on {one.settings.env}, return {', '.join(returns)}"
        draw_frames(path.with_suffix(".png"), shot.frames, title=played)
        print(f"{played}: {len(shot.frames)} frames")
        written += [path.name, *([path.with_suffix(".gif").name] if settings.gif else []), f"{path.stem}.png"]
    print(f"wrote {', '.join(written)} to {settings.out}")
