"""The layout of the page, and its event handlers."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from vl_core.data import ImageError, read_image
from vl_core.devices import checked_device

from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.demo import _messages as messages
from vl_diffusion.demo._chart import CSS, RaceChart
from vl_diffusion.demo._familiar import Familiarity
from vl_diffusion.demo._race import Race
from vl_diffusion.models.denoiser import Denoiser, takes_prompts
from vl_diffusion.models.images import to_tensor
from vl_diffusion.models.loading import as_denoiser, load_denoiser
from vl_diffusion.search import Racing

if TYPE_CHECKING:
    import gradio as gr

_CERTAINTIES = (0.8, 0.95, 0.99, 0.999)
_THUMBNAIL = 112
# Uploaded images: interval of the clean-up, and maximum age, in seconds. All are deleted when the server stops.
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
#result { min-height: 152px; }
#certainty .wrap { gap: 6px; }
#certainty label { padding: 5px 8px; white-space: nowrap; }
#result .vl-prediction { font-size: 24px; margin-bottom: 4px; }
#result .vl-prediction strong { color: #2a7f62; }
.dark #result .vl-prediction strong { color: #5fc9a0; }
#result .vl-small { font-size: 12px; opacity: .75; }
#result .vl-warning { border-left: 4px solid #b07c10; padding: 8px 12px; background: #e6a81722; }
#result .vl-error { border-left: 4px solid #b5402a; padding: 8px 12px; background: #b5402a18; }
"""

_log = logging.getLogger(__name__)


def build_page(
    model: Any = "fashion",
    classes: Sequence[str] | None = None,
    *,
    examples: Sequence[Any] = (),
    references: Sequence[Any] = (),
    draws: int = 250,
    device: str | None = None,
    **settings: Any,
) -> gr.Blocks:
    """Build the page for one model.

    Args:
        model: A model's name, folder or hub id, or an object, as for :class:`~vl_diffusion.DiffusionClassifier`.
        classes: Initial class names; default: the model's own.
        examples: Images to pick from: PIL images, arrays or tensors. The page opens with the first one classified.
        references: Training images of the model. With them, the page warns of an image that is farther from all of them
            than 99 % of them are from all others, in root mean square difference at the model's size.
        draws: Maximum draws per class, see :class:`~vl_diffusion.Racing`.
        device: Device to compute on; default: the model's.
        **settings: Other arguments of the classifier, except `search`, which is `Racing`.

    Returns:
        The Gradio page; :func:`launch_page` serves it without requests to other machines.

    Raises:
        ModuleNotFoundError: If Gradio is not installed; the message names the extra.
        ValueError: If the model does not know `classes`, or a setting is out of range.
    """
    gr = _gradio()
    checked_device(device)
    denoiser = load_denoiser(model) if isinstance(model, str | Path) else as_denoiser(model, device=device)
    known = None if takes_prompts(denoiser) else denoiser.class_names
    # Two classes of a model may share a name, such as ImageNet's cranes.
    names = classes if classes is not None else tuple(dict.fromkeys(denoiser.class_names or ()))
    if names:
        # Check the arguments now instead of at the first image.
        DiffusionClassifier(denoiser, names, search=Racing(draws), device=device, **settings)
    images = [_as_pil(image) for image in examples]
    familiar = Familiarity(references, denoiser.image_size, denoiser.image_channels) if len(references) else None
    session = Session(denoiser, known, draws, {"device": device, **settings}, familiar)
    small = "pixels" if denoiser.image_size <= 64 else ""

    with gr.Blocks(title="vl-diffusion", analytics_enabled=False, fill_width=True, delete_cache=_UPLOADS) as page:
        gr.Markdown(
            "# A diffusion model as a classifier\n"
            "Noise is added to an image, and the model predicts it under each class name. The class with the smallest "
            "error is the prediction. Classes drop out as soon as they are shown to be worse than the leader.",
            elem_id="title",
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                image = gr.Image(
                    images[0] if images else None, label="Image", type="filepath", image_mode=None, format="png",
                    height=230, sources=["upload", "clipboard"], elem_id="image", elem_classes=small,
                )  # fmt: skip
                if images:
                    gallery = gr.Gallery(
                        [_thumbnail(p) for p in images], show_label=False, columns=len(images), rows=1, height=72,
                        format="png", allow_preview=False, interactive=False, buttons=[], selected_index=0,
                        elem_id="examples",
                    )  # fmt: skip
                typed = gr.Textbox(
                    "\n".join(names), label="Class names, one on each line", lines=8, max_lines=8,
                    placeholder="cat\ndog\nbird", elem_id="names", info=_about_names(denoiser),
                )  # fmt: skip
                certainty = gr.Radio(
                    [(f"{100 * share:g} %", share) for share in _CERTAINTIES], value=0.99, elem_id="certainty",
                    label="Certainty required to drop a class",
                )  # fmt: skip
                with gr.Row():
                    classify = gr.Button("Classify", variant="primary", elem_id="classify")
                    stop = gr.Button("Stop", elem_id="stop")
            with gr.Column(scale=3, min_width=480):
                result = gr.HTML(f"<p>{messages.START}</p>", elem_id="result")
                chart = gr.HTML("", css_template=CSS, elem_id="chart")

        # Raw values, so that a file that is not an image is reported here.
        race = classify.click(
            session.watch, [image, typed, certainty], [result, chart],
            preprocess=False, show_progress="hidden", concurrency_limit=1, api_visibility="private",
        )  # fmt: skip
        races = [race]
        if images and names:
            races.append(
                page.load(
                    session.watch, [image, typed, certainty], [result, chart],
                    preprocess=False, show_progress="hidden", concurrency_limit=1, api_visibility="private",
                )
            )  # fmt: skip
            classify.click(None, cancels=races[1:])
        stop.click(None, cancels=races)
        # Clear the result of the previous image.
        empty = f"() => {json.dumps([f'<p>{messages.START}</p>', ''])}"
        image.change(None, None, [result, chart], js=empty, cancels=races, api_visibility="private")
        if images:

            def pick(event: Any) -> Image.Image:
                chosen: Image.Image = images[event.index]
                return chosen

            # Gradio evaluates the annotation, where names imported inside a function are unknown.
            pick.__annotations__["event"] = gr.SelectData
            gallery.select(pick, None, image, show_progress="hidden", api_visibility="private")
    return page


def launch_page(page: gr.Blocks, *, host: str = "127.0.0.1", port: int | None = None, browser: bool = False) -> str:
    """Serve a page from background threads of this process, without requests to other machines.

    Args:
        page: A page from :func:`build_page`.
        host: Address to listen on; the default is reachable only from this machine.
        port: Port to listen on; default: the first free one from 7860.
        browser: Open the page in the web browser.

    Returns:
        The URL of the page. Stop it with ``page.close()``.

    Raises:
        OSError: If the port is in use.
    """
    gr = _gradio()
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    try:
        _, url, _ = page.launch(
            server_name=host, server_port=port, inbrowser=browser, share=False, ssr_mode=False, quiet=True,
            prevent_thread_lock=True, footer_links=[], enable_monitoring=False, theme=theme, css=_STYLE,
        )  # fmt: skip
    except OSError as error:
        raise OSError(f"port {port or 'from 7860 on'} of {host} is not available; choose another") from error
    return str(url)


class Session:
    """Runs a search when the button is pressed: one model, with new class names and certainty each time."""

    def __init__(
        self,
        denoiser: Denoiser,
        known: Sequence[str] | None,
        draws: int,
        settings: dict[str, Any],
        familiar: Familiarity | None = None,
    ) -> None:
        self.denoiser, self.known, self.draws, self.settings, self.familiar = denoiser, known, draws, settings, familiar

    def watch(self, file: dict[str, Any] | None, typed: str, certainty: float) -> Iterator[tuple[str, str]]:
        """Run a race, yielding its state after every round, or an error message.

        Args:
            file: Gradio's description of the uploaded file, with ``path`` and ``orig_name``.
            typed: The class names as entered.
            certainty: One of the offered values.

        Yields:
            Text and chart, both HTML.
        """
        try:
            if not file:
                raise ValueError(messages.NO_IMAGE)
            names = messages.checked_names(typed or "", self.known)
            image = _read(file)
            search = Racing(self.draws, level=1 - _checked_certainty(certainty))
            classifier = DiffusionClassifier(self.denoiser, names, search=search, **self.settings)
            warning = ""
            if self.familiar is not None and not self.familiar.knows(image):
                warning = messages.unfamiliar_html(names)
            race, chart = Race(names, self.draws), RaceChart()
            for result in classifier.watch(image):
                race.add(result)
                yield messages.progress_html(race) + warning, chart.html(race)
            race.finish()
            yield messages.result_html(race, certainty) + warning, chart.html(race)
        except (ValueError, OSError) as error:
            yield messages.error_html(str(error)), ""
        # Any other failure of the model, such as running out of memory: keep the page alive.
        except Exception as error:
            _log.exception("the search failed")
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            yield messages.error_html(f"The model failed: {reason}"), ""


def _gradio() -> Any:
    # Before the import, which may already send telemetry.
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
        return "Any text: the model encodes it as a prompt."
    if known is None:
        return "One name per class of the model, in label order."
    return f"Any of the {len(known):,} classes of the model."


def _checked_certainty(certainty: Any) -> float:
    if certainty not in _CERTAINTIES:
        raise ValueError("Choose the certainty required to drop a class.")
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
    """Scale an image to a thumbnail; the pixels of small images stay visible."""
    scale = _THUMBNAIL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
