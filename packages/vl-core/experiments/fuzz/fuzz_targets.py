"""Readers of outside bytes, each with a small corpus that is made here from code.

A reader may accept a file or refuse it: a ValueError or an OSError whose message names the file. `check` raises
everything else. Files lie in a folder, or have a name, that holds the word `MARK`.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from mutation import write_zip
from PIL import Image

MARK = "fuzzed"

Files = Mapping[str, Sequence[bytes]]
"""Versions of each file by its path inside the folder; the first version is the one that the other files go with."""


@dataclass(frozen=True)
class Target:
    """One reader, and the files that it reads."""

    package: str
    """Import name of the package whose reader this is."""

    files: Callable[[], Files]
    """Makes the corpus."""

    read: Callable[[Path], object]
    """Reads the files in a folder."""

    writes: bool = False
    """True if reading may change the folder."""


class FindingError(Exception):
    """A reader broke its promise."""


def check(target: Target, folder: Path) -> None:
    """Read the files in a folder.

    Raises:
        FindingError: If the reader refuses them without naming a file.
        Exception: Whatever else the reader raises that is neither a ValueError nor an OSError.
    """
    try:
        target.read(folder)
    except (ValueError, OSError) as error:
        if MARK not in str(error):
            raise FindingError(f"{type(error).__name__} names no file: {str(error)[:300]}") from error


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _modes() -> dict[str, Image.Image]:
    values = np.random.default_rng(0).integers(0, 256, (17, 23, 4), np.uint8)
    smooth = (np.add.outer(np.arange(17), np.arange(23)) * 6).astype(np.uint8)
    return {
        "RGB": Image.fromarray(values[..., :3]),
        "L": Image.fromarray(smooth),
        "RGBA": Image.fromarray(values),
        "P": Image.fromarray(values[..., :3]).quantize(16),
        "1": Image.fromarray(smooth > 60),
        "I;16": Image.fromarray(smooth.astype(np.uint16) * 200),
        "F": Image.fromarray(smooth.astype(np.float32) / 255),
        "CMYK": Image.fromarray(values[..., :3]).convert("CMYK"),
        "LA": Image.fromarray(values[..., :3]).convert("LA"),
    }


# Suffix and format, and the modes and options of its versions.
_FORMATS: dict[str, tuple[str, tuple[tuple[str, dict[str, Any]], ...]]] = {
    "avif": ("AVIF", (("RGB", {}), ("RGBA", {}))),
    "bmp": ("BMP", (("RGB", {}), ("P", {}), ("L", {}), ("1", {}))),
    "gif": ("GIF", (("P", {}), ("L", {}), ("P", {"save_all": True, "transparency": 0}))),
    "jpg": (
        "JPEG",
        (
            ("RGB", {}),
            ("L", {}),
            ("CMYK", {}),
            (
                "RGB",
                {
                    "progressive": True,
                    "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
                },
            ),
        ),
    ),
    "jp2": ("JPEG2000", (("RGB", {}), ("L", {}), ("I;16", {}))),
    "mpo": ("MPO", (("RGB", {"save_all": True}),)),
    "png": ("PNG", (("RGB", {}), ("P", {"transparency": 3}), ("I;16", {}), ("LA", {}), ("1", {}))),
    "ppm": ("PPM", (("RGB", {}), ("L", {}), ("1", {}), ("I;16", {}))),
    "tif": (
        "TIFF",
        (
            *(("RGB", {}), ("RGB", {"compression": "tiff_lzw"}), ("L", {"compression": "jpeg"})),
            *(("1", {"compression": "group4"}), ("I;16", {}), ("F", {}), ("CMYK", {"compression": "tiff_deflate"})),
        ),
    ),
    "webp": ("WEBP", (("RGB", {}), ("RGBA", {"lossless": True}))),
}


def _image_files(suffix: str) -> Files:
    kind, versions = _FORMATS[suffix]
    images = _modes()
    made = []
    for mode, options in versions:
        if options.get("save_all"):
            options = {**options, "append_images": [images[mode].transpose(Image.Transpose.ROTATE_180)]}
        made.append(encoded(images[mode], kind, **options))
    return {f"image.{suffix}": made}


def _read_image(folder: Path) -> None:
    from vl_core.data import image_to_tensor, read_image

    (path,) = folder.iterdir()
    with warnings.catch_warnings():
        # Advice for whoever has 8-bit values in wider pixels, not an accident.
        warnings.filterwarnings("ignore", "integer pixels of an image all lie in 0..255", UserWarning)
        image_to_tensor(read_image(path))


def _open_set(folder: Path) -> None:
    from vl_core.data import ImageError, open_dataset

    (path,) = folder.iterdir()
    dataset = open_dataset(path)
    for index in {0, len(dataset) // 2, len(dataset) - 1} if len(dataset) else ():
        try:
            dataset[index]
        except ImageError as error:
            if MARK not in str(error):
                raise


def _npz_files() -> Files:
    values = np.random.default_rng(1).integers(0, 256, (5, 4, 3, 3), np.uint8)
    labels, names = np.array([0, 1, 2, 1, -1]), np.array(["cat", "dog", "emu"])
    contents: list[dict[str, Any]] = [
        {"x": values, "y": labels},
        {"images": values[..., 0], "labels": names[labels], "captions": np.array(list("abcde"))},
        {"x": values[..., :1] / 255.0, "y": labels, "classes": names, "split": np.array(["train"] * 3 + ["test"] * 2)},
    ]
    made = []
    for compression, content in zip((zipfile.ZIP_STORED, *[zipfile.ZIP_DEFLATED] * 2), contents, strict=True):
        members = []
        for name, array in content.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            members.append((f"{name}.npy", buffer.getvalue()))
        made.append(write_zip(members, compression))
    return {f"{MARK}.npz": made}


def _parquet_files() -> Files:
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    images = [encoded(image, "PNG") for image in list(_modes().values())[:5]]
    described = {"info": {"features": {"label": {"names": ["cat", "dog", "emu"], "_type": "ClassLabel"}}}}
    labels = [0, 1, 2, 1, None]
    tables: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"image": images, "label": labels}, {"row_group_size": 2}),
        ({"image": [{"bytes": b, "path": None} for b in images], "label": labels}, {"compression": "zstd"}),
        (
            {"image": images, "label": ["cat", "dog", None, "cat", "emu"]},
            {"compression": "none", "use_dictionary": False},
        ),
        (
            {"image": images, "caption": list("abcde"), "split": ["train"] * 3 + ["test"] * 2},
            {"compression": "gzip", "data_page_version": "2.0"},
        ),
    ]
    made = []
    for columns, options in tables:
        table = arrow.table(columns).replace_schema_metadata({"huggingface": json.dumps(described)})
        buffer = io.BytesIO()
        parquet.write_table(table, buffer, **options)
        made.append(buffer.getvalue())
    damaged = Path(__file__).parents[2] / "tests/data/damaged/three_rows_mutated.parquet"
    return {f"{MARK}.parquet": [*made, damaged.read_bytes()]}


def _idx_files() -> Files:
    header = struct.pack(">4B3I", 0, 0, 8, 3, 5, 4, 3)
    return {f"{MARK}.idx": [header + bytes(range(60)), gzip.compress(header + bytes(60), mtime=0)]}


def _read_idx(folder: Path) -> None:
    import_module("vl_core.data.idx").read_idx(folder / f"{MARK}.idx")


def _safetensors(metadata: dict[str, str] | None = None, **tensors: Any) -> bytes:
    from safetensors.torch import save

    return save(tensors, metadata)


def _run_files() -> Files:
    import torch

    config = {"steps": 100, "rate": 0.1, "classes": ["cat", "dog"], "nested": {"a": None, "b": [1, 2.5]}}
    rows = "".join(json.dumps({"step": step, "loss": 1 / (step + 1)}) + "\n" for step in range(5)) + '{"step": 5'
    state = {"run": json.dumps({"step": 5, "state": {"best": 0.01, "names": ["a"]}})}
    weights = {"weight": torch.zeros(3, 2), "count": torch.ones(1, dtype=torch.int64)}
    return {
        "config.json": [json.dumps(config, indent=2).encode()],
        "metrics.jsonl": [rows.encode()],
        "checkpoint/last.safetensors": [_safetensors(state, **weights)],
    }


def _read_run(folder: Path) -> None:
    from vl_core.runs import RunFolder

    config = {"steps": 100, "rate": 0.1, "classes": ["cat", "dog"], "nested": {"a": None, "b": [1, 2.5]}}
    with RunFolder(folder, config) as run:
        run.metrics()
        run.load_checkpoint()
        run._metrics.rewind(3)


def _table_files() -> Files:
    return {"table.csv": [b'name,value,note\ncat,0.5,"two\nlines"\ndog,0.25,"a ""b"", c"\n', "a\n\u00e4\n".encode()]}


def _read_table(folder: Path) -> None:
    from vl_core.results import append_row, read_rows

    rows = read_rows(folder / "table.csv")
    for row in rows:
        assert all(isinstance(value, str) for value in row.values()), "a cell is no text"
    append_row(folder / "table.csv", rows[0] if rows else {"name": 1, "value": 2, "note": 3})


def _hub_files() -> Files:
    """A folder written by `save_to_disk`."""
    import tempfile

    datasets = import_module("datasets")
    images = [{"bytes": encoded(image, "PNG"), "path": None} for image in list(_modes().values())[:3]]
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "text": datasets.Value("string"),
        }
    )
    rows = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 0], "text": list("abc")}, features=features)
    with tempfile.TemporaryDirectory() as folder:
        rows.save_to_disk(folder)
        return {path.name: [path.read_bytes()] for path in sorted(Path(folder).iterdir())}


def _read_hub(folder: Path) -> None:
    from vl_core.data import open_dataset

    dataset = open_dataset(folder)
    for index in range(min(3, len(dataset))):
        dataset[index]


def _result_files() -> Files:
    """Journals of classifications, and of a study."""
    classification = import_module("vl_diffusion.classification.result").Classification
    log = import_module("vl_diffusion.runs.result_log").ResultLog
    import tempfile

    shape = (3, 2)
    ones, draws = np.ones(shape), np.full(shape, 8)
    result = classification(
        *(("cat", "dog"), np.array([5, 6, 7]), ones, ones, draws, draws, ones * 0.0, ones, np.array([0, 1, 0])),
        *(ones / 2, np.zeros(3, np.int64), np.full(3, 784), np.zeros(shape, bool)),
    )
    with tempfile.TemporaryDirectory() as folder:
        with log(Path(folder, "results.jsonl")) as journal:
            journal.append(result)
        lines = Path(folder, "results.jsonl").read_bytes()
    group = {
        "image_ids": [5, 6],
        "results": {"racing": [{"prediction": 1, "evaluations": 8, "bookkeeping_seconds": 0.5}] * 2},
        "totals": {"seconds": 1.5},
    }
    study = json.dumps(group).encode() + b"\n"
    return {
        "results.jsonl": [lines],
        "results-1.jsonl": [lines.replace(b'"image_ids": 5', b'"image_ids": 9')],
        "study.jsonl": [study * 3],
    }


def _read_results(folder: Path) -> None:
    index = import_module("vl_diffusion.runs.result_log").ResultIndex(folder, ("cat", "dog"))
    index.collect([image_id for image_id in (5, 6, 7, 9) if image_id in index])
    finding = import_module("vl_diffusion.studies.search_comparison").Finding
    record = import_module("vl_diffusion.studies.record").StudyRecord(folder / "study.jsonl", finding)
    record.total("seconds") + sum(result.evaluations + result.prediction for result in record.of("racing").values())


def _wordnet_files() -> Files:
    """Four synsets in a chain and a fork: animal, dog, cat, poodle."""
    entries = [("animal", None), ("dog", 0), ("cat", 0), ("poodle", 1)]
    license_lines = b"  1 This software is provided as is.\n"
    places, lines, data = {}, [], license_lines
    for number, (word, parent) in enumerate(entries):
        places[number] = len(data)
        pointers = "000" if parent is None else f"001 @ {places[parent]:08d} n 0000"
        line = f'{len(data):08d} 05 n 01 {word} 0 {pointers} | a {word}; "an example"  \n'.encode()
        lines.append(f"{word} n 1 1 @ 1 0 {places[number]:08d}  \n".encode())
        data += line
    return {"index.noun": [license_lines + b"".join(lines)], "data.noun": [data]}


def _read_wordnet(folder: Path) -> None:
    import_module("vl_diffusion.search").wordnet_tree(("animal", "dog", "cat", "poodle"), folder)


def _class_files() -> Files:
    tree = {"animals": {"cats": ["cat"], "dogs": ["dog", "poodle"]}, "vehicles": ["car", "ship"]}
    return {
        "tree.json": [json.dumps(tree).encode(), b'[["cat", "dog"], ["poodle", "car", "ship"]]'],
        "names.txt": ["cat\ndog\r\n\n  ship ä \n".encode(), "\ufeffcat\ndog".encode()],
    }


def _read_classes(folder: Path) -> None:
    import_module("vl_diffusion.commands.settings.class_names").class_names([f"@{folder / 'names.txt'}"])
    search = import_module("vl_diffusion.search")
    tree = import_module("vl_diffusion.commands.settings.classifier").read_tree(folder / "tree.json")
    try:
        search.LabelTree(tree, ("cat", "dog", "poodle", "car", "ship"))
    # About the tree, an object by then, whose file the command has been given.
    except (ValueError, TypeError) as error:
        if "tree" not in str(error):
            raise FindingError(f"does not name the tree: {error}") from error


def _config_files() -> Files:
    scheduler = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "prediction_type": "epsilon",
        "trained_betas": None,
    }
    flow = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
    cosine = {**scheduler, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    cnn = {"architecture": "SmallCNN", "width": 8, "image_size": 28, "classes": ["cat", "dog"]}
    model = import_module("vl_diffusion.models.small_cnn").SmallCNN(8, classes=["cat", "dog"])
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    return {
        "scheduler_config.json": [json.dumps(content).encode() for content in (scheduler, flow, cosine)],
        "config.json": [json.dumps(cnn).encode()],
        "model.safetensors": [_safetensors(None, **weights)],
    }


def _read_configs(folder: Path) -> None:
    cnn = import_module("vl_diffusion.models.small_cnn").SmallCNN
    import_module("vl_diffusion.models.folders").read_schedule(folder / "scheduler_config.json")
    if cnn.is_in(folder):
        cnn.from_pretrained(folder)


def _denoiser_files() -> Files:
    import tempfile

    diffusers = import_module("diffusers")
    network = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        num_class_embeds=2,
    )
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        diffusers.DDPMScheduler().save_pretrained(folder)
        Path(folder, "classes.json").write_text('["cat", "dog"]')
        names = ("config.json", "scheduler_config.json", "classes.json", "diffusion_pytorch_model.safetensors")
        return {name: [Path(folder, name).read_bytes()] for name in names}


def _read_denoiser(folder: Path) -> None:
    import_module("vl_diffusion.models.loading").load_denoiser(folder)
    import_module("vl_diffusion.runs.fingerprint").fingerprint(folder)


def _classifier_files() -> Files:
    import tempfile

    attention, timm = import_module("vl_attention.classifiers.saved_models"), import_module("timm")
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, embed_dim=12, depth=1, num_heads=2, num_classes=2)
    with tempfile.TemporaryDirectory() as folder:
        attention.save_model(model, folder, classes=("cat", "dog"))
        return {name: [Path(folder, name).read_bytes()] for name in ("config.json", "model.safetensors")}


def _read_classifier(folder: Path) -> None:
    import_module("vl_attention.classifiers.saved_models").load_classifier(folder)


def _prediction_files() -> Files:
    import torch

    rows = b"model,images,shift,severity,correct,total,accuracy,low,high\nm,fashion,none,0,9,10,0.9,0.6,0.98\n"
    predictions = _safetensors(None, logits=torch.zeros(3, 2), labels=torch.zeros(3, dtype=torch.int64))
    return {"runs/ours-0/predictions.safetensors": [predictions], "evaluate.csv": [rows]}


def _read_predictions(folder: Path) -> None:
    import_module("vl_attention.comparison.compare").read_predictions(folder, "ours", 0)
    import_module("vl_attention.commands.evaluate").Record(folder / "evaluate.csv")


TARGETS: dict[str, Target] = {
    "parquet": Target("vl_core", _parquet_files, _open_set),
    "npz": Target("vl_core", _npz_files, _open_set),
    "safetensors": Target("vl_diffusion", _config_files, _read_configs),
    "run-record": Target("vl_core", _run_files, _read_run, writes=True),
    "journal": Target("vl_diffusion", _result_files, _read_results),
    "table": Target("vl_core", _table_files, _read_table, writes=True),
    "wordnet": Target("vl_diffusion", _wordnet_files, _read_wordnet),
    "class-list": Target("vl_diffusion", _class_files, _read_classes),
    "classifier": Target("vl_attention", _classifier_files, _read_classifier),
    "denoiser": Target("vl_diffusion", _denoiser_files, _read_denoiser),
    "predictions": Target("vl_attention", _prediction_files, _read_predictions),
    "idx": Target("vl_core", _idx_files, _read_idx),
    "hub-folder": Target("vl_core", _hub_files, _read_hub),
    **{
        f"image-{suffix}": Target("vl_core", lambda suffix=suffix: _image_files(suffix), _read_image)  # type: ignore[misc]
        for suffix in _FORMATS
    },
}
"""Targets by name, those of greatest risk first."""
