"""The report is one file that asks nobody for anything, and what strangers wrote is text in it."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import pytest
from explorer_page_store import BAD_URL, HOSTILE, encoded, fill, keep
from PIL import Image, PngImagePlugin
from vl_explorer.page.figures import Series, line_chart, nice_ticks
from vl_explorer.page.report import write_report
from vl_explorer.page.state import find_run
from vl_explorer.page.style import STYLE, policy
from vl_explorer.page.texts import escaped, is_web, link, size_text
from vl_explorer.page.thumbnails import thumbnail
from vl_explorer.store.rows import Source
from vl_explorer.store.store import Store


class Elements(HTMLParser):
    """Elements of a page with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def page(store, tmp_path):
    write_report(tmp_path / "report.html", store)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_report_shows_the_run_and_needs_nothing_else(page):
    elements, text = Elements(page), " ".join(Elements(page).text)
    assert "2 of 4 iterations are finished" in text
    assert "Iteration 2: 1 of 3 queries searched" in text
    for said in ("again 1", "Heron 16", "license", "query 5", "robots", "best tenth", "k-NN accuracy"):
        assert said in text
    assert len(elements.of("img")) == 12
    for image in elements.of("img"):
        assert image["src"].startswith("data:image/jpeg;base64,")
        assert image["alt"].startswith("Heron ")
    assert {tag for tag, _ in elements.found} & {"script", "iframe", "object", "form", "base"} == set()
    for name in ("src", "href", "srcset", "action", "poster"):
        loaded = [own[name] for tag, own in elements.found if tag != "a" and name in own]
        assert all(address.startswith("data:") for address in loaded)
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    (rules,) = [own["content"] for own in elements.of("meta") if "http-equiv" in own]
    assert rules == policy(served=False)
    assert "default-src 'none'" in rules
    assert "unsafe" not in rules + policy(served=True)
    assert not any("style" in own or any(name.startswith("on") for name in own) for _, own in elements.found)


def test_the_page_can_be_read_without_seeing_it(page):
    elements = Elements(page)
    assert next(tag for tag, _ in elements.found if re.fullmatch("h[1-6]", tag)) == "h1"
    assert {own["scope"] for own in elements.of("th")} == {"col", "row"}
    charts = [own["aria-label"] for own in elements.of("svg") if own.get("role") == "img"]
    assert charts[0] == (
        "Reward over iterations. mean of all images: from 0.200 at first to 0.300 at last; "
        "best tenth: from 0.500 at first to 0.600 at last"
    )
    assert elements.of("html")[0]["lang"] == "en"


def test_texts_of_strangers_are_harmless(tmp_path):
    with Store(tmp_path / "store") as store:
        run = fill(store, HOSTILE)
        query = store.add_query(run.id, 1, 3, HOSTILE, concept=HOSTILE)
        store.add_failure("https://a.example", HOSTILE)
        digest = keep(
            store, 100, title=HOSTILE, author=HOSTILE, page_url=BAD_URL, license=HOSTILE, license_url=BAD_URL,
            engine=HOSTILE, query=HOSTILE,
        )  # fmt: skip
        store.set_rewards(run.id, 1, {digest: 2.0})
        summary = dict(store.iterations(run.id)[1].summary)
        summary["concept_rewards"] = [*summary["concept_rewards"], 3.0]
        store.finish_iteration(run.id, 1, summary)
        write_report(tmp_path / "report.html", store)
    assert query.place == 3
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert elements.of("script") == []
    assert all("onerror" not in own for _, own in elements.found)
    assert " ".join(elements.text).count("alert('x')") >= 8  # shown as text in each of these places
    for own in elements.of("a"):
        assert own["href"].startswith("https://")
        assert own["rel"] == "noopener noreferrer nofollow"
    assert "javascript:" not in page


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://a.example/x?y=1#z", True),
        ("http://a.example", True),
        ("HTTPS://A.example/", True),
        ("javascript:alert(1)", False),
        ("java\nscript:alert(1)", False),
        (" javascript:alert(1)", False),
        ("data:text/html,<script>", False),
        ("file:///etc/passwd", False),
        ("//a.example/x", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://a.example/\u202etxt", False),
        ("", False),
    ],
)
def test_only_addresses_of_the_web_become_links(url, accepted):
    assert is_web(url) is accepted
    assert ("href" in link(url, "text")) is accepted


def test_an_address_cannot_leave_its_attribute():
    assert Elements(link('https://a.example/"onclick="alert(1)', "x")).found == [
        ("a", {"href": 'https://a.example/"onclick="alert(1)', "target": "_blank", "dir": "auto",
               "rel": "noopener noreferrer nofollow"}),
    ]  # fmt: skip
    assert escaped("a\u202eb\0c\nd", 5) == "a b …"
    assert escaped("\udcff") == "\\udcff"


def test_thumbnails_hold_pixels_alone(store):
    said = PngImagePlugin.PngInfo()
    said.add_text("Comment", "SECRET-COMMENT")
    content = encoded(200, (400, 100), pnginfo=said, icc_profile=b"SECRET-PROFILE")
    image = Image.open(io.BytesIO(content))
    digest = store.add_image(Source("https://images.example/big.png"), content, image).sha256
    small = thumbnail(store, digest)
    assert b"SECRET" in content
    assert b"SECRET" not in small
    with Image.open(io.BytesIO(small)) as decoded:
        assert (decoded.format, decoded.size) == ("JPEG", (160, 40))
        assert set(decoded.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_an_image_that_cannot_be_read_has_no_thumbnail(store, tmp_path):
    digest = keep(store, 300)
    store.path(digest).write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert thumbnail(store, digest) is None
    assert thumbnail(store, "0" * 64) is None
    store.set_rewards(find_run(store).id, 1, {digest: 9.0})
    write_report(tmp_path / "report.html", store, images=1)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "file removed" in page
    assert "<img" not in page


def test_charts_leave_gaps_and_have_round_ticks():
    chart = line_chart([Series("a", [0.0, None, 1.0, float("nan"), 0.5])], range(5), title="t")
    assert re.search(r'class="line line0" d="M[\d. ]+M[\d. ]+M[\d. ]+"', chart)
    assert chart.count("<circle") == 3
    chart = line_chart([Series("a", [40.0, 50.0])], [0, 1], title="t")
    assert re.findall(r'end">([^<]+)<', chart) == ["40.0", "42.5", "45.0", "47.5", "50.0"]
    assert "<svg" not in line_chart([Series("a", [None])], [0], title="t")
    for low, high in ((0.3, 0.3), (0, 0), (-5, 7), (1e6, 1.1e6), (12, 9000)):
        ticks = nice_ticks(low, high)
        assert ticks[0] <= low <= high <= ticks[-1]
        assert 2 <= len(ticks) <= 7
    assert [size_text(count) for count in (999, 999_949, 999_950, 10**15)] == [
        "999 bytes",
        "999.9 kB",
        "1.0 MB",
        "1.0 PB",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"images": 501}, r"images must lie in 0\.\.500, got 501"),
        ({"size": 8}, r"size must lie in 16\.\.640 pixels, got 8"),
        ({"run": "herons"}, "got 'herons'; choose one"),
    ],
)
def test_refused(store, tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        write_report(tmp_path / "report.html", store, **arguments)
    assert not (tmp_path / "report.html").exists()
