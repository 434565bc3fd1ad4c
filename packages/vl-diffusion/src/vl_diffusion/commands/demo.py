"""`vl-diffusion demo`: a web page to try a model."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from vl_core.devices import find_device

from vl_diffusion.commands._settings import Precision
from vl_diffusion.demo import build_page, launch_page
from vl_diffusion.models.loading import load_denoiser
from vl_diffusion.runs.image_collection import gather

_EXAMPLES = 8


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Serve a web page: drop an image, edit the class names, and watch classes being eliminated.

    Requires `pip install 'vl-diffusion[demo]'`. The page makes no requests to other machines, and is reachable only
    from this machine unless --host is given. Stop it with Ctrl-C.
    """

    model: str = "fashion"
    """"fashion" (built in), the folder of a diffusers pipeline or network, or a hub id."""

    classes: tuple[str, ...] | None = None
    """Initial class names; default: the model's own."""

    image_size: int | None = None
    """For text-conditional models: height and width of the images in pixels; default: the training resolution."""

    examples: tuple[str, ...] | None = None
    """Image files, folders or data sets with examples, of which eight are shown; default: clothes for "fashion"."""

    draws: int = 250
    """Maximum draws per class."""

    prompt_template: tuple[str, ...] = ("a photo of a {}.",)
    """For text-conditional models: one or several prompts with {} for the class name."""

    seed: int = 0
    """Seed of the noise."""

    batch_size: int = 64
    """Evaluations per call of the network; results do not depend on it."""

    precision: Precision = "float32"
    """Precision of the network; the schedule and the errors are float32."""

    device: str = "auto"
    """"cpu", "cuda", ..., or "auto" for a GPU if available."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for access from other machines."""

    port: int | None = None
    """Port to listen on; default: the first free one from 7860."""

    browser: bool = False
    """Open the page in the web browser."""


def run(settings: Demo) -> None:
    """Serve the page until interrupted.

    Raises:
        ValueError: If an argument is invalid.
        OSError: If a model or an image is missing, or the port is in use.
        ModuleNotFoundError: If Gradio is not installed; the message names the extra.
    """
    device = find_device(settings.device)
    shown = settings.examples
    if shown is None:
        shown = ("fashion",) if settings.model == "fashion" else ()
    examples = gather(shown, split=None if settings.examples else "test", at_most=_EXAMPLES) if shown else ()
    page = build_page(
        load_denoiser(settings.model, torch_dtype=getattr(torch, settings.precision), image_size=settings.image_size),
        settings.classes,
        examples=examples,
        draws=settings.draws,
        prompt_template=settings.prompt_template,
        seed=settings.seed,
        batch_size=settings.batch_size,
        device=device,
    )
    url = launch_page(page, host=settings.host, port=settings.port, browser=settings.browser)
    print(f"The page is at {url} (stop it with Ctrl-C)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print("closed")
    finally:
        page.close(verbose=False)
