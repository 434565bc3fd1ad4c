"""Decoded images, and types by bytes and by declaration."""

from __future__ import annotations

import pytest
from explorer_hostile_web import encoded, png_bomb
from PIL import ExifTags, Image
from vl_explorer.web.images import decode, read_image
from vl_explorer.web.policy import Policy
from vl_explorer.web.reasons import Fetched, Refusal
from vl_explorer.web.sniffing import check_declared, sniff

POLICY = Policy(max_pixels=1_000_000)


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("AVIF", "image/avif"),
    ],
)
def test_images_are_known_by_their_bytes(kind, content_type):
    body = encoded(kind, size=(40, 30))
    assert sniff(body) == content_type
    assert read_image(body, POLICY).size == (40, 30)
    assert read_image(body + b"\0" * 10, POLICY).size == (40, 30)  # cameras append what they like


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_all_modes_become_eight_bits(mode):
    assert read_image(encoded("PNG", mode), POLICY).mode in ("RGB", "L")


def test_values_survive():
    assert read_image(encoded("PNG", "I;16", color=65535), POLICY).getpixel((0, 0)) == 255
    assert read_image(encoded("PNG", "I;16", color=257), POLICY).getpixel((0, 0)) == 1  # dark, and no warning
    assert max(read_image(encoded("JPEG", "CMYK", color=(0, 0, 0, 255)), POLICY).getpixel((0, 0))) < 5
    assert read_image(encoded("PNG", "RGBA", color=(0, 0, 0, 0)), POLICY).getpixel((0, 0)) == (255, 255, 255)
    frames = [Image.new("RGB", (4, 3), color) for color in ("blue", "red")]
    for kind in ("GIF", "WEBP", "PNG"):
        body = encoded(kind, color="lime", save_all=True, append_images=frames, lossless=True)
        assert read_image(body, POLICY).getpixel((0, 0)) == (0, 255, 0)


def test_images_stand_upright_and_lose_their_metadata():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Artist] = 6, "somebody"
    image = read_image(encoded("JPEG", size=(8, 4), exif=exif), POLICY)
    assert (image.size, image.info, len(image.getexif())) == ((4, 8), {}, 0)


def test_a_refusal_is_a_result_in_a_thread():
    refused = decode(Fetched("http://a.example/", "http://a.example/", png_bomb(2000, 2000), "image/png"), POLICY)
    assert (refused.url, refused.reason) == ("http://a.example/", "pixels")
    assert "2000 x 2000 = 4,000,000 pixels" in refused.detail


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xd8", b"BMW", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x1cftypheic", b"P5 1 1 255 a"]
)
def test_what_is_no_image_is_refused(body):
    with pytest.raises(Refusal):
        sniff(body)


@pytest.mark.parametrize(
    ("content_type", "taken"),
    [
        ("", True),
        ("IMAGE/PNG; charset=x", True),
        ("application/octet-stream", True),
        ("image/svg+xml", False),
        ("text/plain", False),
        ("image/png, text/html", True),
        ("multipart/x-mixed-replace", False),
    ],
)
def test_declared_types(content_type, taken):
    if taken:
        check_declared(content_type)
    else:
        with pytest.raises(Refusal, match="not_image: the declared type is"):
            check_declared(content_type)
