"""The page in a real browser: an image goes in, a race is run, and what is read there is what the classifier says."""

from __future__ import annotations

import gc
import os
import re
import shutil
import socket
import sys
import threading
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from vl_core.data import read_image
from vl_diffusion import DiffusionClassifier, Racing
from vl_diffusion.cli import main
from vl_diffusion.demo import build_page, launch_page
from vl_diffusion.demo._familiar import Familiarity
from vl_diffusion.demo.page import Session
from vl_diffusion.models.loading import load_denoiser

# Gradio leaves the event loops of its imports to the garbage collector. What it calls deprecates this and that with
# every release; in a thread of the server such a warning would be an error of the page.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio"),
    pytest.mark.filterwarnings("ignore:.*no_silent_downcasting:DeprecationWarning"),
]

DRAWS = 40
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(scope="module", autouse=True)
def event_loops_are_collected():
    """Before another file's tests, where the warnings above would be errors."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def outside():
    """Addresses other than this machine that the process connects to."""
    found, connect = [], socket.socket.connect

    def recorded(self, address):
        if self.family != socket.AF_UNIX and address[0] not in LOOPBACK:
            found.append(address)
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", recorded)
        yield found


@pytest.fixture(scope="module")
def url(pixel_dit_folder, tmp_path_factory, outside):
    """A page of ten classes and two examples, served from a free port."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        rng = np.random.default_rng(5)
        examples = [rng.integers(0, 256, (28, 28), np.uint8) for _ in range(2)]
        page = build_page(pixel_dit_folder, examples=examples, draws=DRAWS)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        yield launch_page(page, port=port)
        page.close(verbose=False)
        gc.collect()


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"none of {', '.join(BROWSERS)} is installed, and CI has to drive one")
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def page(url, browser, outside):
    """The page, freshly opened; in the end nothing was complained of and nobody else was asked."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    page.wait_for_selector("#classify")
    # It opens with the first example, already classified.
    page.wait_for_selector("#result .vl-prediction strong")
    yield page
    page.close()
    assert complaints == []
    assert requests
    foreign = [r for r in requests if urlsplit(r).scheme not in ("data", "blob")]
    assert {urlsplit(r).hostname for r in foreign} <= set(LOOPBACK)
    assert outside == []


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (31, 28, 3), np.uint8)).save(path)
    return path


def drop(page, path):
    if page.locator("#image img").count():
        clear(page)
    page.set_input_files("#image input[type=file]", path)
    page.wait_for_selector("#image img")


def clear(page):
    page.click("#image button[aria-label='Remove Image']")
    page.wait_for_selector("#result .vl-prediction", state="detached")


def problem(page):
    page.click("#classify")
    return page.wait_for_selector("#result .vl-error").inner_text()


@pytest.mark.slow
def test_the_page_shows_the_classifiers_prediction(page, image, pixel_dit_folder):
    drop(page, image)
    page.evaluate(
        """() => {
            window.heard = [];
            const verdict = document.querySelector("#result");
            new MutationObserver(() => window.heard.push(verdict.innerText))
                .observe(verdict, {childList: true, subtree: true, characterData: true});
        }"""
    )
    page.click("#classify")
    named = page.wait_for_selector("#result .vl-prediction strong").inner_text()
    said = page.inner_text("#result")

    classifier = DiffusionClassifier.from_pretrained(pixel_dit_folder, search=Racing(DRAWS, level=0.01))
    result = classifier.classify(read_image(image))
    assert named == result.predicted_classes[0]
    assert f"took {result.evaluations.sum()} evaluations, " in said
    saved = round(100 * (1 - result.evaluations.sum() / 400))
    assert f"{saved} % fewer than exhaustive search, which takes 400." in said
    assert "99 %" in said
    assert any(re.match(r"Round \d+: .+ leads", text) for text in page.evaluate("window.heard"))
    # Every class has its lane, with the draws that it saw; the winner's is the first.
    assert page.locator("#chart .lane").count() == 10
    for name, draws in zip(result.classes, result.draws[0], strict=True):
        lane = page.locator("#chart .lane", has=page.locator(f'.name[title="{name}"]'))
        assert f"{draws} draws" in lane.inner_text()
    winner = page.locator("#chart .lane.leads")
    assert "wins" in winner.inner_text()
    assert winner.get_attribute("style") == "top:0px"


@pytest.mark.slow
def test_other_names_and_another_certainty(page, image, pixel_dit_folder):
    drop(page, image)
    page.fill("#names textarea", "Cat, dog, truck")
    page.click("#certainty label:has-text('80 %')")
    page.click("#classify")
    named = page.wait_for_selector("#result .vl-prediction strong").inner_text()
    search = Racing(DRAWS, level=1 - 0.8)
    classifier = DiffusionClassifier.from_pretrained(pixel_dit_folder, ["cat", "dog", "truck"], search=search)
    result = classifier.classify(read_image(image))
    assert named == result.predicted_classes[0]
    assert f"took {result.evaluations.sum()} evaluations" in page.inner_text("#result")


@pytest.mark.slow
def test_an_example_can_be_picked(page):
    assert page.locator("#examples button.thumbnail-item").count() == 2
    page.locator("#examples button.thumbnail-item").nth(1).click()
    page.wait_for_selector("#result .vl-prediction", state="detached")
    page.wait_for_selector("#image img")
    page.click("#classify")
    named = page.wait_for_selector("#result .vl-prediction strong").inner_text()
    assert named in page.input_value("#names textarea").splitlines()


@pytest.mark.slow
def test_errors_are_shown_as_a_sentence(page, image, tmp_path):
    clear(page)
    assert problem(page) == "There is no image yet: drop one on the left, or pick an example."
    drop(page, image)
    page.fill("#names textarea", "cat\nunicorn")
    page.click("#classify")
    page.wait_for_selector("#result .vl-error:has-text('unicorn')")
    assert page.inner_text("#result .vl-error").startswith(
        "“unicorn” is not among the classes of this model. It knows “airplane”, "
    )
    page.fill("#names textarea", "cat")
    page.click("#classify")
    page.wait_for_selector("#result .vl-error:has-text('At least two class names')")
    assert page.locator("#chart .lane").count() == 0


@pytest.mark.slow
def test_a_file_that_is_no_image_is_named(page, tmp_path):
    path = tmp_path / "letter.png"
    path.write_text("Dear reader, this is no image.")
    drop(page, path)
    said = problem(page)
    assert said.startswith("This image cannot be read: letter.png ")
    assert "\n" not in said


def test_a_text_model_races_any_names(image, sd_folder):
    session = Session(load_denoiser(sd_folder), None, 8, {"seed": 1})
    *rounds, (said, chart) = session.watch({"path": str(image)}, "a cat, a dragon, a teapot", 0.95)
    classifier = DiffusionClassifier.from_pretrained(
        sd_folder, ["a cat", "a dragon", "a teapot"], search=Racing(8, level=0.05), seed=1
    )
    assert f"<strong>{classifier.classify(read_image(image)).predicted_classes[0]}</strong>" in said
    assert chart.count('class="lane ') == 3
    assert len(rounds) >= 2


def test_an_image_unlike_the_references_is_warned_of(pixel_dit_folder, tmp_path):
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (28, 28))
    references = [np.clip(base + rng.integers(-9, 10, base.shape), 0, 255).astype(np.uint8) for _ in range(8)]
    denoiser = load_denoiser(pixel_dit_folder)
    familiar = Familiarity(references, denoiser.image_size, denoiser.image_channels)
    session = Session(denoiser, None, 8, {}, familiar)

    def warned(pixels):
        Image.fromarray(pixels).save(tmp_path / "image.png")
        *_, (said, _) = session.watch({"path": str(tmp_path / "image.png")}, "cat, dog", 0.95)
        return "unlike those that the model was trained on" in said

    assert not warned(references[0])
    assert warned(255 - references[0])


def test_an_image_is_as_far_as_the_nearest_reference():
    references = [np.full((4, 4), value, np.uint8) for value in (0, 51, 153)]
    familiar = Familiarity(references, 4, 1)
    assert familiar.distance(np.full((4, 4), 102, np.uint8)) == pytest.approx(0.2)
    # Each reference's distance to the nearest other one is 0.2, 0.2 and 0.4.
    assert familiar.limit == pytest.approx(0.2 + 0.2 * 0.98)
    assert familiar.knows(np.full((4, 4), 230, np.uint8))
    assert not familiar.knows(np.full((4, 4), 255, np.uint8))
    with pytest.raises(ValueError, match="references must be at least 2 images, got 1"):
        Familiarity(references[:1], 4, 1)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (RuntimeError("CUDA out of memory.\nTried to allocate"), "The model failed: CUDA out of memory."),
        (RuntimeError(), "The model failed: RuntimeError"),
        (None, "must be finite, got nan"),
    ],
)
def test_failures_of_the_model_are_shown_as_a_sentence(failure, said, image, pixel_dit_folder, monkeypatch):
    def failing(self, x_t, time, condition):
        if failure is None:
            return x_t * np.nan
        raise failure

    monkeypatch.setattr("vl_diffusion.models.families.class_conditional.ClassConditionalDenoiser.predict", failing)
    session = Session(load_denoiser(pixel_dit_folder), ("cat", "dog"), 8, {})
    ((sentence, chart),) = session.watch({"path": str(image)}, "cat, dog", 0.95)
    assert sentence.startswith('<p class="vl-error"')
    assert said in sentence
    assert chart == ""


def test_the_command_serves_the_page_and_can_be_interrupted(pixel_dit_folder, monkeypatch, capsys):
    served = []

    def launch(page, **where):
        served.append(where)
        return "http://here/"

    def interrupted(self, timeout=None, wait=threading.Event.wait):
        if threading.current_thread() is not threading.main_thread():
            return wait(self, timeout)  # of a progress bar, say
        raise KeyboardInterrupt

    monkeypatch.setattr("vl_diffusion.commands.demo.launch_page", launch)
    monkeypatch.setattr("vl_diffusion.commands.demo.threading.Event.wait", interrupted)
    assert main(["demo", "--model", str(pixel_dit_folder), "--port", "1234"]) == 0
    assert served == [{"host": "127.0.0.1", "port": 1234, "browser": False}]
    assert "http://here/" in capsys.readouterr().out


def test_a_port_that_cannot_be_is_refused_before_loading(capsys):
    assert main(["demo", "--port", "99999999"]) == 2
    assert capsys.readouterr().err == "vl-diffusion: error: --port must be from 1 to 65535, got 99999999\n"


def test_a_port_that_is_taken_is_one_line(pixel_dit_folder, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["demo", "--model", str(pixel_dit_folder), "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"vl-diffusion: error: --port must be free to listen on, got 127.0.0.1 port {port}: ")
    assert error.count("\n") == 1


def test_a_name_that_the_model_lacks_stops_the_command(pixel_dit_folder, capsys):
    assert main(["demo", "--model", str(pixel_dit_folder), "--classes", "cat", "unicorn"]) == 2
    assert "unicorn" in capsys.readouterr().err


def test_without_gradio_the_command_names_the_extra(pixel_dit_folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["demo", "--model", str(pixel_dit_folder)]) == 2
    assert capsys.readouterr().err == (
        "vl-diffusion: error: gradio is not installed; it comes with `pip install 'vl-diffusion[demo]'`\n"
    )
