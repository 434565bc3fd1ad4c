"""The page in a real browser: it shows a run, follows it, and asks nobody but its server."""

from __future__ import annotations

import os
import shutil
import time
from urllib.parse import urlsplit

import pytest
from explorer_page_server import served
from explorer_page_store import HOSTILE, PLANNED, advance, keep
from vl_explorer.page.report import write_report
from vl_explorer.page.state import find_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
LOADED = "images => images.every(image => image.complete && image.naturalWidth > 0)"
WIDE = "document.documentElement.scrollWidth > innerWidth"


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"none of {', '.join(BROWSERS)} is installed, and CI has to drive one")
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A new page; what it complained of and whom it asked are kept with it."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(30_000)
    page.complaints, page.asked, page.dialogs = [], [], []
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
    yield page
    page.close()


def foreign(page, allowed):
    """Requests to anybody else."""
    return [url for url in page.asked if urlsplit(url).scheme != "data" and not url.startswith(allowed)]


def wait_for(condition, seconds=30):
    """Until it holds; asked from here, since the page's content security policy refuses Playwright's own waiting."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_page_follows_a_run_to_its_end(page, store):
    run = find_run(store)
    with served(store.folder, seconds=0.2) as dashboard:
        page.goto(dashboard.url)
        assert page.inner_text("h1") == "birds"
        assert page.locator("progress").get_attribute("value") == "2"
        assert "2 of 4 iterations are finished" in page.inner_text("#status")
        assert page.locator("#concepts tbody tr").count() == 3
        assert page.locator("#wall img").count() == 12
        page.locator("#wall").scroll_into_view_if_needed()
        wait_for(lambda: page.eval_on_selector_all("#wall img", LOADED))
        page.evaluate("() => { scrollTo(0, 300); window.kept = document.querySelector('#wall figure'); }")
        page.locator("#wall a").first.focus()
        where = page.evaluate("scrollY")
        advance(store, run.id, 2)
        page.wait_for_selector("text=3 of 4 iterations are finished")
        wait_for(lambda: page.locator("#wall img").count() == 18)
        # An image that stayed on the wall is the same element still, and the reader is where the reader was.
        assert page.evaluate("document.contains(window.kept)")
        assert page.evaluate("document.activeElement.closest('figure') === window.kept")
        assert page.evaluate("scrollY") == where
        assert page.locator("#iterations tbody tr").count() == 3
        advance(store, run.id, PLANNED - 1)
        page.wait_for_selector("text=Finished: all 4 iterations are done.")
        assert page.locator("#lost").is_hidden()
        assert page.complaints == []
    page.wait_for_selector("#lost:has-text('The server does not answer since')")
    assert page.asked
    assert foreign(page, dashboard.url) == []


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_fits_and_runs_nothing(page, store, tmp_path, width, scheme):
    run = find_run(store)
    digest = keep(store, 100, title=HOSTILE, author=HOSTILE * 5, query="x" * 300, license=HOSTILE)
    store.set_rewards(run.id, 1, {digest: 2.0})
    write_report(tmp_path / "report.html", store)
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("#wall img").count() == 13
    assert page.eval_on_selector_all("#wall img", LOADED)
    assert not page.evaluate(WIDE)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light is (scheme == "light")
    assert page.complaints == page.dialogs == []
    assert foreign(page, "file:") == []
    assert len(page.asked) - len([url for url in page.asked if url.startswith("data:")]) == 1
