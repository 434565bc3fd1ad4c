"""From whatever an image is to float32 (C, H, W) in [0, 1]."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from vl_core.data import ImageError, image_to_tensor, read_image


def test_a_color_image_gives_three_channels_first():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for image in (pixels, Image.fromarray(pixels)):
        tensor = image_to_tensor(image)
        assert tensor.dtype == torch.float32
        assert tensor.shape == (3, 2, 4)
        assert torch.equal(tensor, torch.tensor(pixels).permute(2, 0, 1) / 255)


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 1)])
def test_a_gray_array_gives_one_channel(shape):
    tensor = image_to_tensor(np.full(shape, 51, np.uint8))
    assert tensor.shape == (1, 2, 4)
    assert torch.allclose(tensor, torch.full((1, 2, 4), 0.2))


def test_black_and_white_are_exactly_zero_and_one():
    assert image_to_tensor(np.array([[0, 255]], np.uint8)).tolist() == [[[0.0, 1.0]]]


def test_a_pil_image_in_another_mode_is_converted():
    assert image_to_tensor(Image.new("L", (4, 2))).shape == (1, 2, 4)
    assert image_to_tensor(Image.new("RGBA", (4, 2))).tolist() == torch.ones(3, 2, 4).tolist()
    assert image_to_tensor(Image.fromarray(np.array([[65535]], np.uint16))).item() == 1


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def ramp(mode, width=7, height=5):
    """An image of which no turn is the image itself, in color where the mode has it."""
    values = np.arange(width * height * 4, dtype=np.uint8).reshape(height, width, 4) * 3
    return Image.fromarray(values, "RGBA").convert("RGB").convert(mode) if mode != "RGBA" else Image.fromarray(values)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


SIXTEEN_BIT = Image.fromarray(np.arange(35, dtype=np.uint16).reshape(5, 7) * 1800)
FILES = {
    "EXIF in JPEG": lambda: saved(ramp("RGB"), "JPEG", exif=turned(6)),
    "EXIF in PNG": lambda: saved(ramp("L"), "PNG", exif=turned(8)),
    "EXIF in WebP": lambda: saved(ramp("RGB"), "WEBP", exif=turned(5)),
    "EXIF in TIFF": lambda: saved(ramp("RGB"), "TIFF", exif=turned(3)),
    "damaged EXIF": lambda: saved(ramp("RGB"), "JPEG", exif=b"Exif\0\0nonsense"),
    "palette": lambda: saved(ramp("P"), "PNG"),
    "transparent palette": lambda: saved(ramp("P"), "PNG", transparency=3),
    "animated GIF": lambda: saved(ramp("P"), "GIF", save_all=True, append_images=[ramp("P").rotate(90)]),
    "animated WebP": lambda: saved(ramp("RGB"), "WEBP", save_all=True, append_images=[ramp("RGB").rotate(90)]),
    "gray with alpha": lambda: saved(ramp("RGBA").convert("LA"), "PNG"),
    "color with alpha": lambda: saved(ramp("RGBA"), "PNG"),
    "one transparent color": lambda: saved(ramp("RGB"), "PNG", transparency=(0, 3, 6)),
    "16 bits": lambda: saved(SIXTEEN_BIT, "PNG"),
    "1 bit": lambda: saved(ramp("1"), "PNG"),
    "CMYK": lambda: saved(ramp("CMYK"), "JPEG"),
    "CMYK in TIFF": lambda: saved(ramp("CMYK"), "TIFF"),
    "one pixel": lambda: saved(ramp("RGB", 1, 1), "BMP"),
    "a strip": lambda: saved(ramp("L", 300, 1), "PNG"),
}


@pytest.mark.parametrize("file", FILES)
def test_an_opened_image_is_what_read_image_makes_of_its_file(file):
    content = FILES[file]()
    with Image.open(io.BytesIO(content)) as opened:
        assert torch.equal(image_to_tensor(opened), image_to_tensor(read_image(content)))
        # A copy in memory keeps the orientation of its file, and looking at it changes nothing.
        assert torch.equal(image_to_tensor(opened.copy()), image_to_tensor(opened))


def test_an_image_that_was_turned_already_is_not_turned_again():
    content = saved(ramp("RGB"), "PNG", exif=turned(6))
    with Image.open(io.BytesIO(content)) as opened:
        assert torch.equal(image_to_tensor(ImageOps.exif_transpose(opened)), image_to_tensor(opened))
    assert image_to_tensor(read_image(content)).shape == (3, 7, 5)


def test_an_image_that_was_opened_lazily_and_is_damaged_is_refused():
    cut = io.BytesIO(saved(ramp("RGB", 200, 200), "JPEG")[:900])
    message = "image cannot be decoded: image file is truncated"
    with Image.open(cut) as opened, pytest.raises(ImageError, match=message):
        image_to_tensor(opened)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_float_tensor_keeps_its_values(dtype, channels):
    tensor = torch.rand(channels, 2, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(image_to_tensor(tensor), tensor.float())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_float_array_keeps_its_values_and_shares_no_memory(dtype):
    array = np.linspace(0, 1, 24).astype(dtype).reshape(3, 2, 4)
    tensor = image_to_tensor(array)
    assert np.array_equal(tensor.numpy(), array.astype(np.float32))
    array[:] = 0
    assert tensor.max() == 1


def test_a_gradient_goes_through():
    tensor = torch.full((1, 2, 2), 0.5, requires_grad=True)
    image_to_tensor(tensor).sum().backward()
    assert torch.equal(tensor.grad, torch.ones(1, 2, 2))


def test_strided_arrays_are_read_as_they_look():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert torch.equal(image_to_tensor(pixels[::-1, ::2]), image_to_tensor(pixels[::-1, ::2].copy()))
    floats = np.linspace(0, 1, 24).reshape(3, 2, 4)[:, ::-1]
    assert torch.equal(image_to_tensor(floats), image_to_tensor(floats.copy()))


def closed():
    with Image.new("L", (2, 2)) as image:
        image.close()
    return image


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        (np.zeros((2, 4, 3), np.int64), "must be uint8 or floating point, got int64"),
        (np.zeros((2, 4, 3), bool), "got bool"),
        (np.array([["a"]]), "must be uint8 or floating point"),
        (torch.zeros(3, 2, 4, dtype=torch.uint8), "got torch.uint8; for uint8, divide by 255"),
        (np.zeros((2, 4, 4), np.uint8), r"got \(2, 4, 4\)"),
        (np.zeros((3, 2, 4), np.uint8), r"got \(3, 2, 4\); move the channels to the end"),
        (np.zeros((5, 8, 8), np.uint8), r"if it is a batch of gray images, pass images\[\.\.\., None\]"),
        (torch.zeros(5, 8, 8), r"if it is a batch of gray images, pass images\[:, None\]"),
        (torch.eye(2)[None].to_sparse(), r"must be dense, got torch\.sparse_coo; call to_dense\(\)"),
        (torch.zeros(1, 2, 2, device="meta"), "got one on the meta device; load it on another device"),
        (closed(), r"Operation on closed image; it was closed, so call load\(\) before"),
        (np.zeros(4, np.uint8), r"got \(4,\)"),
        (np.zeros((0, 4), np.uint8), "must have pixels"),
        (torch.zeros(2, 4), r"must have shape \(1, H, W\) or \(3, H, W\), got \(2, 4\)"),
        (torch.zeros(4, 2, 4), r"got \(4, 2, 4\)"),
        (torch.zeros(2, 4, 3), "move the channels to the front"),
        (torch.zeros(1, 3, 2, 4), r"got \(1, 3, 2, 4\)"),
        (torch.zeros(3, 0, 4), "must have pixels"),
        (torch.tensor([[[float("nan")]]]), "NaN or infinity"),
        (np.full((1, 2, 2), np.inf), "NaN or infinity"),
        (torch.tensor([[[-1.0, 1.0]]]), r"must lie in \[0, 1\], got -1 to 1; rescale or clamp"),
        (np.full((1, 2, 2), 255.0), "got 255 to 255"),
    ],
)
def test_what_is_no_image_is_named(image, cause):
    with pytest.raises(ValueError, match=cause):
        image_to_tensor(image)


def test_a_path_is_for_read_image():
    with pytest.raises(TypeError, match="got str; read files with read_image"):
        image_to_tensor("image.png")
