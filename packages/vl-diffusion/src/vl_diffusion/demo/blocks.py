"""The page itself: what lies where, and what happens when somebody presses a button."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from vl_core.data import ImageError, read_image

from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.demo import words
from vl_diffusion.demo.chart import CSS, RaceChart
from vl_diffusion.demo.race import Race
from vl_diffusion.models.denoiser import Denoiser, takes_prompts
from vl_diffusion.models.images import to_tensor
from vl_diffusion.models.loading import as_denoiser, load_denoiser
from vl_diffusion.search import Racing

if TYPE_CHECKING:
    import gradio as gr

_CERTAINTIES = (0.8, 0.95, 0.99, 0.999)
_THUMBNAIL = 112
# Uploaded images: how often they are looked through, and how old they become, in seconds. All go with the server.
_UPLOADS = (600, 3600)
_STYLE = """
.gradio-container > main { max-width: 1240px; margin: 0 auto; }
#title h1 { margin: 0 0 2px; }
#image img { width: 100%; height: 100%; object-fit: contain; }
.pixels img { image-rendering: pixelated; }
#examples { padding: 6px; }
#examples .grid-wrap { padding: 0; overflow: auto; }
#examples .grid-container { gap: 5px; padding: 0;
  grid-template-columns: repeat(8, minmax(0, 56px)) !important; }
#examples .thumbnail-item { height: auto; aspect-ratio: 1; }
#verdict { min-height: 152px; }
#certainty .wrap { gap: 6px; }
#certainty label { padding: 5px 8px; white-space: nowrap; }
#verdict .vl-says { font-size: 24px; margin-bottom: 4px; }
#verdict .vl-says strong { color: #2a7f62; }
.dark #verdict .vl-says strong { color: #5fc9a0; }
#verdict .vl-small { font-size: 12px; opacity: .75; }
#verdict .vl-problem { border-left: 4px solid #b5402a; padding: 8px 12px; background: #b5402a18; }
"""

_log = logging.getLogger(__name__)


def build_page(
    model: Any = "fashion",
    classes: Sequence[str] | None = None,
    *,
    examples: Sequence[Any] = (),
    draws: int = 250,
    device: str | None = None,
    **settings: Any,
) -> gr.Blocks:
    """The page of one model.

    Args:
        model: A model's name, folder or hub id, or an object, as for :class:`~vl_diffusion.DiffusionClassifier`.
        classes: The names that stand there at first; default: the model's own, if it has some.
        examples: Images to pick from: PIL images, arrays or tensors.
        draws: The most draws that a class sees, see :class:`~vl_diffusion.Racing`.
        device: Where to compute; default: where the model is.
        **settings: Other arguments of the classifier, but for `search`, which is a race.

    Returns:
        Gradio's page; :func:`launch_page` serves it so that nothing is asked of other machines.

    Raises:
        ModuleNotFoundError: If Gradio is not installed; the extra is named.
        ValueError: If `classes` are not what the model can tell apart, or a setting is out of range.
    """
    gr = _gradio()
    denoiser = load_denoiser(model) if isinstance(model, str | Path) else as_denoiser(model, device=device)
    known = None if takes_prompts(denoiser) else denoiser.class_names
    # Two of a model's classes may share a name, as ImageNet's cranes do.
    names = classes if classes is not None else tuple(dict.fromkeys(denoiser.class_names or ()))
    if names:
        # Whatever is wrong with the arguments comes out here rather than at the first image.
        DiffusionClassifier(denoiser, names, search=Racing(draws), device=device, **settings)
    images = [_as_pil(image) for image in examples]
    session = Session(denoiser, known, draws, {"device": device, **settings})
    small = "pixels" if denoiser.image_size <= 64 else ""

    with gr.Blocks(title="vl-diffusion", analytics_enabled=False, fill_width=True, delete_cache=_UPLOADS) as page:
        gr.Markdown(
            "# A diffusion model as a classifier\n"
            "Noise is added to an image, and the model predicts it under each class name. The name that helps it most "
            "is the answer. Classes race, and drop out as soon as they are certainly worse than the leader.",
            elem_id="title",
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                image = gr.Image(
                    label="Image", type="filepath", image_mode=None, format="png", height=230,
                    sources=["upload", "clipboard"], elem_id="image", elem_classes=small,
                )  # fmt: skip
                if images:
                    gallery = gr.Gallery(
                        [_thumbnail(p) for p in images], show_label=False, columns=len(images), rows=1, height=72,
                        format="png", allow_preview=False, interactive=False, buttons=[], elem_id="examples",
                    )  # fmt: skip
                typed = gr.Textbox(
                    "\n".join(names), label="Class names, one on each line", lines=8, max_lines=8,
                    placeholder="cat\ndog\nbird", elem_id="names", info=_about_names(denoiser),
                )  # fmt: skip
                certainty = gr.Radio(
                    [(f"{100 * share:g} %", share) for share in _CERTAINTIES], value=0.99, elem_id="certainty",
                    label="How certain before a class drops out",
                )  # fmt: skip
                with gr.Row():
                    classify = gr.Button("Classify", variant="primary", elem_id="classify")
                    stop = gr.Button("Stop", elem_id="stop")
            with gr.Column(scale=3, min_width=480):
                verdict = gr.HTML(f"<p>{words.START}</p>", elem_id="verdict")
                chart = gr.HTML("", css_template=CSS, elem_id="chart")

        # Raw values: a file that is no image is then ours to complain about.
        race = classify.click(
            session.watch, [image, typed, certainty], [verdict, chart],
            preprocess=False, show_progress="hidden", concurrency_limit=1, api_visibility="private",
        )  # fmt: skip
        stop.click(None, cancels=[race])
        # A verdict beside another image would mislead.
        empty = f"() => {json.dumps([f'<p>{words.START}</p>', ''])}"
        image.change(None, None, [verdict, chart], js=empty, cancels=[race], api_visibility="private")
        if images:

            def pick(event: Any) -> Image.Image:
                chosen: Image.Image = images[event.index]
                return chosen

            # Gradio looks at the annotation itself, and knows no names that were imported inside a function.
            pick.__annotations__["event"] = gr.SelectData
            gallery.select(pick, None, image, show_progress="hidden", api_visibility="private")
    return page


def launch_page(page: gr.Blocks, *, host: str = "127.0.0.1", port: int | None = None, browser: bool = False) -> str:
    """Serve a page from threads of this process, which asks no other machine for anything.

    Args:
        page: What :func:`build_page` made.
        host: Address to listen at; the default can be reached from this machine alone.
        port: Port to listen at; default: the first that is free from 7860 on.
        browser: Open the page in the web browser.

    Returns:
        The page's address. ``page.close()`` ends it.

    Raises:
        OSError: If the port is taken.
    """
    gr = _gradio()
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    try:
        _, url, _ = page.launch(
            server_name=host, server_port=port, inbrowser=browser, share=False, ssr_mode=False, quiet=True,
            prevent_thread_lock=True, footer_links=[], enable_monitoring=False, theme=theme, css=_STYLE,
        )  # fmt: skip
    except OSError as error:
        raise OSError(f"port {port or 'from 7860 on'} of {host} cannot be had; is it taken? Choose another") from error
    return str(url)


class Session:
    """Answers the button: one model, and new names and certainty each time."""

    def __init__(self, denoiser: Denoiser, known: Sequence[str] | None, draws: int, settings: dict[str, Any]) -> None:
        self.denoiser, self.known, self.draws, self.settings = denoiser, known, draws, settings

    def watch(self, file: dict[str, Any] | None, typed: str, certainty: float) -> Iterator[tuple[str, str]]:
        """A race, round by round; whatever is wrong is a sentence in its place.

        Args:
            file: What Gradio says of an uploaded file: its ``path`` here, and its ``orig_name``.
            typed: The class names.
            certainty: One of those that can be chosen.

        Yields:
            The sentence and the chart, both HTML.
        """
        try:
            if not file:
                raise ValueError(words.NO_IMAGE)
            names = words.checked_names(typed or "", self.known)
            image = _read(file)
            search = Racing(self.draws, level=1 - _one_of_ours(certainty))
            classifier = DiffusionClassifier(self.denoiser, names, search=search, **self.settings)
            race, chart = Race(names, self.draws), RaceChart()
            for result in classifier.watch(image):
                race.add(result)
                yield words.progress(race), chart.html(race)
            race.finish()
            yield words.verdict(race, certainty), chart.html(race)
        except (ValueError, OSError) as error:
            yield words.problem(str(error)), ""
        # Whatever else a model runs into, memory above all: the page stays a page.
        except Exception as error:
            _log.exception("the race ended early")
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            yield words.problem(f"The model could not go on: {reason}"), ""


def _gradio() -> Any:
    # Before the import, which may already tell home about itself.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise ModuleNotFoundError(
            "gradio is not installed; it comes with `pip install 'vl-diffusion[demo]'`", name="gradio"
        ) from error
    return gradio


def _about_names(denoiser: Denoiser) -> str:
    known = denoiser.class_names
    if takes_prompts(denoiser):
        return "Any words will do: the model reads them."
    if known is None:
        return "A name for each of the model's classes, in the order of its labels."
    return f"Any of the {len(known):,} that the model has learned; leave out what you like."


def _one_of_ours(certainty: Any) -> float:
    if certainty not in _CERTAINTIES:
        raise ValueError("Choose how certain the race must be before a class drops out.")
    return float(certainty)


def _read(file: dict[str, Any]) -> Image.Image:
    name = file.get("orig_name") or "The file"
    try:
        return read_image(file["path"], name=name)
    except ImageError as error:
        raise ValueError(f"This image cannot be read: {error}.") from error


def _as_pil(image: Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    pixels = (to_tensor(image) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _thumbnail(image: Image.Image) -> Image.Image:
    """Small images keep their pixels visible; large ones are made small."""
    scale = _THUMBNAIL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
