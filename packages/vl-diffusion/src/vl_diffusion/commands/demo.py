"""`vl-diffusion demo`: a web page to try a model."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from vl_core.data import balanced_order, open_dataset
from vl_core.devices import find_device

from vl_diffusion.commands.settings.class_names import class_names
from vl_diffusion.commands.settings.demo import Demo
from vl_diffusion.demo import build_page, launch_page
from vl_diffusion.models.loading import load_denoiser
from vl_diffusion.runs.image_collection import gather
from vl_diffusion.runs.reading import read_images

_EXAMPLES = 8
# Training images of the built-in models of clothing, to tell images unlike them.
_REFERENCES = 1000


def run(settings: Demo) -> None:
    """Serve the page until interrupted.

    Raises:
        ValueError: If an argument is invalid.
        OSError: If a model or an image is missing, or the port is in use.
        ModuleNotFoundError: If Gradio is not installed; the message names the extra.
    """
    settings.check()
    device = find_device(settings.device)
    shown = settings.examples
    if shown is None:
        shown = ("fashion",) if settings.model == "fashion" else ()
    examples: Sequence[Any] = ()
    if shown:
        read = read_images(gather(shown, split=None if settings.examples else "test", at_most=_EXAMPLES))
        read.list_skipped()
        examples = read.collection
    page = build_page(
        load_denoiser(**settings.loading(), dtype=settings.precision),
        class_names(settings.classes),
        examples=examples,
        references=_references(settings.model),
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


def _references(model: str) -> Sequence[Any]:
    """Training images of the model; none for a model whose training images are elsewhere."""
    if model not in ("fashion", "fashion_robust"):
        return ()
    clothes = open_dataset("fashion", split="train")
    return [clothes[i][0] for i in balanced_order(clothes.labels.tolist())[:_REFERENCES]]
