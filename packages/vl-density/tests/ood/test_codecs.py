"""Codecs: lengths of real files, lossless, without headers, and the extra that brings some of them."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image
from vl_density.commands.settings import ood
from vl_density.ood.codecs import CODECS, compressed_bits

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 8), dtype=np.uint8)


@pytest.fixture
def library():
    return pytest.importorskip("imagecodecs", reason="imagecodecs comes with the extra vl-density[codecs]")


@pytest.mark.parametrize("codec", ["png", "webp"])
def test_lengths_are_those_of_files(codec):
    options = {"png": {"optimize": True}, "webp": {"lossless": True, "quality": 100, "method": 6}}[codec]

    def length(image):
        memory = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(memory, codec, **options)
        assert (np.asarray(Image.open(memory).convert("RGB")) == image.transpose(1, 2, 0)).all()
        return memory.tell()

    expected = [8 * (length(image) - length(image * 0)) for image in PIXELS]
    assert compressed_bits(PIXELS, codec).tolist() == expected


@pytest.mark.parametrize(("codec", "short"), [("jpeg-ls", "jpegls"), ("jpeg-xl", "jpegxl")])
@pytest.mark.parametrize("channels", [1, 3])
def test_codecs_of_the_extra_are_lossless(codec, short, channels, library, monkeypatch):
    files, encode = [], getattr(library, f"{short}_encode")
    monkeypatch.setattr(library, f"{short}_encode", lambda *a, **b: files.append(encode(*a, **b)) or files[-1])
    found = compressed_bits(PIXELS[:, :channels], codec)
    header, *files = files
    assert found.tolist() == [8 * (len(file) - len(header)) for file in files]
    for file, image in zip(files, PIXELS[:, :channels], strict=True):
        decoded = getattr(library, f"{short}_decode")(file).reshape(9, 8, channels)
        np.testing.assert_array_equal(decoded, image.transpose(1, 2, 0))


@pytest.mark.parametrize("codec", CODECS)
def test_smooth_images_are_short(codec, request):
    if codec.startswith("jpeg"):
        request.getfixturevalue("library")
    smooth = np.broadcast_to(np.arange(32, dtype=np.uint8), (1, 1, 32, 32))
    noise = np.random.default_rng(1).integers(0, 256, (1, 1, 32, 32), dtype=np.uint8)
    assert compressed_bits(np.zeros((1, 1, 32, 32), np.uint8), codec)[0] == 0
    assert compressed_bits(smooth, codec)[0] < 1500 < 7000 < compressed_bits(noise, codec)[0]


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'vl-density\[codecs\]'"):
        compressed_bits(PIXELS, "jpeg-xl")
    monkeypatch.setattr(ood, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"^--codecs jpeg-ls needs imagecodecs, .*\[codecs\]"):
        ood.OutOfDistribution(codecs=("png", "jpeg-ls")).check()


def test_the_command_knows_every_codec(library):
    ood.OutOfDistribution(codecs=tuple(CODECS)).check()
    assert tuple(CODECS) == ood._CODECS


@pytest.mark.parametrize(
    ("pixels", "codec", "message"),
    [
        (PIXELS, "flif", "codec must be one of png, webp, jpeg-ls, jpeg-xl, got 'flif'"),
        (PIXELS[:, :2], "png", "pixels must have one channel or three, got 2"),
    ],
)
def test_wrong_input_is_named(pixels, codec, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        compressed_bits(pixels, codec)
