"""Small captioned data sets in each form, and what they hold."""

import io
import tarfile

from PIL import Image


def encoded(shade, kind="PNG", size=(6, 4)):
    """Bytes of an image of one color."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, 0, 0)).save(buffer, kind)
    return buffer.getvalue()


def write(root, content):
    """Write files below a folder by their path: texts, bytes, or shades of images."""
    for name, value in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_bytes(value))
    return root


def tar(path, content, **settings):
    """Write a shard of members by their name, or of pairs where a name stands twice."""
    with tarfile.open(path, "w", **settings) as archive:
        for name, value in content.items() if isinstance(content, dict) else content:
            member = tarfile.TarInfo(name)
            if isinstance(value, tarfile.TarInfo):
                archive.addfile(value)
                continue
            member.size = len(as_bytes(value))
            archive.addfile(member, io.BytesIO(as_bytes(value)))
    return path


def as_bytes(value):
    """Bytes of a file: those of an image where a shade is given."""
    return encoded(value) if isinstance(value, int) else value.encode() if isinstance(value, str) else value


def shown(dataset):
    """Name, shade and captions of each image."""
    return [(item.name, item.image.getpixel((0, 0))[0], item.captions) for item in dataset]
