"""Every kind of image file, good and bad."""

import io
import logging
import struct
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from vl_core.data import ImageError, open_dataset, read_image
from vl_core.data._modes import to_rgb_or_gray
from vl_core.data._quiet import quiet_pillow

# Four quarters of plain color, 16 pixels wide and 8 high: survives JPEG, and every turn of it is another image.
RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


def quarters():
    image = Image.new("RGB", (16, 8))
    for corner, color in (((0, 0), RED), ((8, 0), GREEN), ((0, 4), BLUE), ((8, 4), BLACK)):
        image.paste(color, (*corner, corner[0] + 8, corner[1] + 4))
    return image


def encode(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width, height):
    """A PNG that says how large it is and holds next to nothing."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"\0" * 100)) + png_chunk(b"IEND", b"")


def assert_close(image, expected, tolerance=0):
    assert image.mode == expected.mode
    assert image.size == expected.size
    difference = np.abs(np.asarray(image).astype(int) - np.asarray(expected).astype(int))
    assert difference.max() <= tolerance


@pytest.mark.parametrize("format", ["BMP", "PNG", "PPM", "TIFF", "WEBP", "JPEG2000"])
def test_lossless_formats_come_back_exactly(format):
    options = {"lossless": True} if format == "WEBP" else {}
    assert_close(read_image(encode(quarters(), format, **options)), quarters())


@pytest.mark.parametrize("as_text", [False, True])
def test_reads_from_a_path(tmp_path, as_text):
    path = tmp_path / "image.png"
    quarters().save(path)
    assert_close(read_image(str(path) if as_text else path), quarters())


# What a viewer must do to see the image upright, written out as array operations (EXIF 2.3, section 4.6.4).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_turns_the_image_upright(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(format, {})
    image = read_image(encode(quarters(), format, exif=exif, **options))
    expected = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](np.asarray(quarters()))))
    assert_close(image, expected, tolerance=12 if format == "JPEG" else 0)
    assert not image.getexif()


@pytest.mark.parametrize("block", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0"])
def test_a_damaged_exif_block_leaves_the_image_as_stored(block):
    image = read_image(encode(quarters(), "JPEG", quality=95, subsampling=0, exif=block))
    assert_close(image, quarters(), tolerance=12)


def test_an_unknown_orientation_leaves_the_image_as_stored():
    exif = Image.Exif()
    exif[0x0112] = 99
    assert_close(read_image(encode(quarters(), "PNG", exif=exif)), quarters())


def test_transparency_is_composited_on_white():
    rgba = Image.new("RGBA", (3, 1))
    rgba.putdata([(255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 128)])
    image = read_image(encode(rgba, "PNG"))
    assert image.mode == "RGB"
    assert [image.getpixel((x, 0)) for x in range(3)] == [(255, 0, 0), (255, 255, 255), (127, 127, 127)]


def test_gray_with_transparency_stays_gray():
    la = Image.new("LA", (3, 1))
    la.putdata([(10, 255), (10, 0), (0, 128)])
    image = read_image(encode(la, "PNG"))
    assert image.mode == "L"
    assert list(np.asarray(image)[0]) == [10, 255, 127]


def test_one_transparent_gray_level_becomes_white():
    image = read_image(encode(Image.fromarray(np.array([[7, 8]], np.uint8)), "PNG", transparency=7))
    assert image.mode == "L"
    assert list(np.asarray(image)[0]) == [255, 8]


def test_one_transparent_color_becomes_white():
    image = read_image(encode(quarters(), "PNG", transparency=RED))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((15, 0)) == GREEN


def palette():
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).copy()
    image = Image.frombytes("P", (3, 1), image.tobytes())
    image.putpalette([*RED, *GREEN, *BLUE])
    return image


def test_a_palette_becomes_rgb():
    image = read_image(encode(palette(), "PNG"))
    assert image.mode == "RGB"
    assert [image.getpixel((x, 0)) for x in range(3)] == [RED, GREEN, BLUE]


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])])
def test_a_palette_with_transparency_is_composited_on_white(transparency):
    image = read_image(encode(palette(), "PNG", transparency=transparency))
    assert [image.getpixel((x, 0)) for x in range(3)] == [RED, (255, 255, 255), BLUE]


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), color) for color in (RED, GREEN)]
    image = read_image(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert image.getpixel((0, 0)) == RED


def test_cmyk_becomes_rgb():
    image = read_image(encode(quarters().convert("CMYK"), "JPEG", quality=95, subsampling=0))
    assert_close(image, quarters(), tolerance=12)


def test_bilevel_becomes_gray():
    bits = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    image = read_image(encode(bits, "PNG"))
    assert image.mode == "L"
    assert np.asarray(image).tolist() == [[0, 255], [255, 0]]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_and_not_cut_off(format):
    values = np.array([[0, 128, 257, 32896, 65535]], np.uint16)
    image = read_image(encode(Image.fromarray(values), format))
    assert image.mode == "L"
    assert np.asarray(image).tolist() == [[0, 0, 1, 128, 255]]


def test_eight_bits_stored_as_sixteen_come_back_exactly():
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    assert np.array_equal(np.asarray(read_image(encode(Image.fromarray(levels * 257), "PNG"))), levels)


def test_floating_point_in_the_unit_range_is_scaled():
    values = np.array([[0, 0.5, 1]], np.float32)
    assert np.asarray(read_image(encode(Image.fromarray(values), "TIFF"))).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), float("inf")])
def test_floating_point_out_of_range_is_an_error(value):
    values = np.array([[0, value]], np.float32)
    with pytest.raises(ImageError, match=r"depth\.tiff cannot be decoded: .* \[0, 1\]"):
        read_image(encode(Image.fromarray(values), "TIFF"), name="depth.tiff")


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_beyond_sixteen_bits_are_an_error(value):
    values = np.array([[0, value]], np.int32)
    with pytest.raises(ImageError, match=r"0\.\.65535"):
        read_image(encode(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_becomes_rgb_or_gray_without_touching_the_input(mode):
    image = Image.new(mode, (2, 3))
    image.info["comment"] = "kept"
    plain = to_rgb_or_gray(image)
    assert plain.mode == ("L" if mode in ("1", "L", "LA", "La") else "RGB")
    assert plain.size == (2, 3)
    assert plain is not image
    assert image.info == {"comment": "kept"}
    assert plain.info == {}


# ---- What cannot be read ----


def make_bad_files():
    jpeg = encode(Image.effect_noise((64, 64), 80).convert("RGB"), "JPEG")
    png = encode(Image.effect_noise((64, 64), 80), "PNG")
    # Its height becomes 1,000,064; the strip of 64 rows stays.
    tall = encode(Image.effect_noise((8, 64), 80), "TIFF").replace(
        struct.pack("<I", 64), struct.pack("<I", 1_000_064), 1
    )
    return {
        "empty": (b"", r"is empty \(0 bytes\)"),
        "text": (b"this is no image\n" * 20, "is not an image in a known format"),
        "truncated-jpeg": (jpeg[: len(jpeg) // 2], "cannot be decoded: .*truncated"),
        "truncated-png": (png[: len(png) // 2], "cannot be decoded: "),
        "only-a-signature": (png[:8], "(cannot be decoded|is not an image)"),
        "damaged-png": (png[:60] + bytes(200) + png[260:], "cannot be decoded: "),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "is not an image"),
        "bomb": (png_header(50_000, 50_000), r"too large: .*2500000000 pixels.*100,000,000"),
        "rows-without-data": (tall, "declares 8 x 1000064 pixels and has data for fewer"),
        "too-large": (png_header(11_000, 10_000), r"11000 x 10000 = 110,000,000 pixels, over the limit of 100,000,000"),
    }


BAD_FILES = make_bad_files()


@pytest.mark.parametrize("kind", BAD_FILES)
@pytest.mark.parametrize("from_bytes", [False, True])
def test_a_bad_file_is_one_line_that_names_it_and_the_cause(tmp_path, kind, from_bytes):
    content, cause = BAD_FILES[kind]
    path = tmp_path / f"{kind}.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=cause) as caught:
        read_image(content, name=str(path)) if from_bytes else read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "BytesIO" not in str(caught.value)


def test_bytes_without_a_name_are_called_image_bytes():
    with pytest.raises(ImageError, match=r"^image bytes is empty") as caught:
        read_image(b"")
    assert not caught.value.too_large


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png does not exist"):
        read_image(tmp_path / "nowhere.png")


def test_a_folder_is_not_a_image(tmp_path):
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)


def test_the_limit_is_the_callers(tmp_path):
    content = encode(Image.new("L", (20, 10)), "PNG")
    assert read_image(content, max_pixels=200).size == (20, 10)
    with pytest.raises(
        ImageError, match=r"20 x 10 = 200 pixels, over the limit of 199; pass a larger max_pixels"
    ) as caught:
        read_image(content, max_pixels=199)
    assert caught.value.too_large


def test_pillows_own_limit_is_left_alone_and_named(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(ImageError, match="MAX_IMAGE_PIXELS"):
        read_image(encode(Image.new("L", (20, 10)), "PNG"))
    # Between once and twice its limit Pillow only warns, and the limit that counts is the caller's.
    assert read_image(encode(Image.new("L", (10, 9)), "PNG")).size == (10, 9)
    assert Image.MAX_IMAGE_PIXELS == 50


def test_threads_that_read_at_once_leave_the_warning_filters_as_they_were(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    content = encode(Image.new("L", (10, 9)), "PNG")
    before = list(warnings.filters)
    failures = []

    def work():
        try:
            for _ in range(50):
                read_image(content)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(warnings.filters) == before


# ---- Ranges of values, and what a file can hold ----


@pytest.mark.parametrize(
    ("values", "pixel_range", "expected"),
    [
        (np.array([[0, 1000, 4095, 60_000]], np.uint16), None, [0, 4, 16, 233]),
        (np.array([[0, 1000, 4095, 60_000]], np.uint16), (0, 4095), [0, 62, 255, 255]),
        (np.array([[0, 1000, 4095, 60_000]], np.uint16), (1000, 2000), [0, 0, 255, 255]),
        (np.array([[-1000, 0, 40, 3000]], np.int32), (-160, 240), [0, 102, 128, 255]),
        (np.array([[-1, 0, 0.5, 9]], np.float32), (-1, 1), [0, 128, 191, 255]),
        (np.array([[0, 100, 200, 255]], np.uint8), (0, 4095), [0, 100, 200, 255]),
    ],
)
def test_a_range_of_values_becomes_black_to_white(values, pixel_range, expected):
    content = encode(Image.fromarray(values), "TIFF")
    image = read_image(content, pixel_range=pixel_range)
    assert (image.mode, np.asarray(image)[0].tolist()) == ("L", expected)


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
@pytest.mark.parametrize(("values", "dark"), [([0, 1, 255], True), ([0, 0, 0], False), ([0, 0, 256], False)])
def test_bytes_in_wider_pixels_are_warned_of_once(mode, values, dark):
    image = Image.new(mode, (3, 1))
    for place, value in enumerate(values):
        image.putpixel((place, 0), value)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert to_rgb_or_gray(image).getextrema() == (0, round(max(values) / 257))
        assert to_rgb_or_gray(image, (0, 255)).getextrema() == (0, min(max(values), 255))
    assert [str(one.message)[:44] for one in caught] == ["integer pixels of an image all lie in 0..255"] * dark


@pytest.mark.parametrize("pixel_range", [(4095, 0), (0, 0), (0,), (0, 1, 2), (0, float("nan")), (0, "x"), 5, "04"])
def test_a_range_that_is_none_is_refused(tmp_path, pixel_range):
    path = tmp_path / "a.png"
    Image.new("L", (4, 3)).save(path)
    for read, source in ((read_image, path), (open_dataset, tmp_path)):
        with pytest.raises(ValueError, match=r"^pixel_range must be two finite numbers, .* 12-bit images have"):
            read(source, pixel_range=pixel_range)


@pytest.mark.parametrize("mode", ["RGBA", "P", "I;16", "F", "1", "LA"])
def test_a_large_image_is_converted_in_strips_as_it_is_in_one_piece(monkeypatch, mode):
    values = np.random.default_rng(0).integers(0, 256, (23, 9, 4), np.uint8)
    image = {
        "RGBA": Image.fromarray(values),
        "P": Image.fromarray(values[..., :3]).quantize(16),
        "I;16": Image.fromarray(values[..., 0].astype(np.uint16) * 250),
        "F": Image.fromarray(values[..., 0] / np.float32(255)),
        "1": Image.fromarray(values[..., 0] > 128),
        "LA": Image.fromarray(values).convert("LA"),
    }[mode]
    if mode == "P":
        image.info["transparency"] = 3
    whole = to_rgb_or_gray(image)
    monkeypatch.setattr("vl_core.data._modes._STRIP_PIXELS", 20)
    strips = to_rgb_or_gray(image)
    assert strips.mode == whole.mode
    assert np.array_equal(np.asarray(strips), np.asarray(whole))


def test_a_few_bytes_that_declare_many_pixels_are_refused():
    """A GIF of 30 bytes, whose decoder is content with an empty image."""
    gif = b"GIF89a" + struct.pack("<HHBBB", 9000, 9000, 0x80, 0, 0) + bytes(6)
    gif += b"," + struct.pack("<HHHHB", 0, 0, 9000, 9000, 0) + b"\x02\x01\x01\x00;"
    with pytest.raises(ImageError, match=r"declares 9000 x 9000 = 81,000,000 pixels in 34 bytes, more than 16,000,000"):
        read_image(gif)


def test_what_pillow_logs_stays_unsaid(caplog):
    logger = logging.getLogger("PIL.TiffImagePlugin")
    before = logging.getLogger("PIL").level
    with quiet_pillow():
        logger.warning("said inside")
    logger.warning("said outside")
    assert [record.getMessage() for record in caplog.records] == ["said outside"]
    assert logging.getLogger("PIL").level == before


def test_quiet_for_each_image_leaves_the_caches_of_logging_and_what_is_disabled(monkeypatch):
    loggers = {disabled: logging.getLogger(f"PIL.of a test, {disabled}") for disabled in (False, True)}
    for disabled, logger in loggers.items():
        monkeypatch.setattr(logger, "disabled", disabled)
    monkeypatch.setattr(logging.root.manager, "_clear_cache", lambda: pytest.fail("all loggers forget their levels"))
    for _ in range(2):
        with quiet_pillow(), quiet_pillow():
            assert all(logger.disabled for logger in loggers.values())
        assert [logger.disabled for logger in loggers.values()] == [False, True]


@pytest.mark.skipif(sys.platform == "win32", reason="libtiff is part of Pillow's own library there")
def test_libtiff_prints_nothing(capfd):
    content = encode(Image.new("L", (40, 30), 7), "TIFF", compression="tiff_lzw")
    damaged = content.replace(content[8:30], bytes(22))
    with pytest.raises(ImageError):
        read_image(damaged)
    assert capfd.readouterr().err == ""
    with pytest.raises(OSError, match="decoder error"), Image.open(io.BytesIO(damaged)) as image:
        image.load()
    assert "tempfile.tif" in capfd.readouterr().err
