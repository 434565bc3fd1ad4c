"""The names of the methods that a study compares and of their classifiers; `methods` and `sources` need torch."""

from __future__ import annotations

from pathlib import Path

from vl_diffusion.models.folders import PRETRAINED

SOURCE = "source"
"""The classifier without adaptation, the baseline of the others."""

METHOD_TITLES = {
    SOURCE: "source classifier",
    "tent": "TENT",
    "default": "adapter",
    "default_online": "adapter, online",
    "ungated": "ungated",
    "diffusion_tta": "Diffusion-TTA",
    "diffusion_classifier": "diffusion classifier",
}
"""Names of the methods in words, for figures and documents."""

METHOD_NAMES = tuple(METHOD_TITLES)
"""Names of all methods: the classifier without adaptation; TENT; the adapter's defaults, episodic, online, and without
a gate; the published setting of Diffusion-TTA; and the diffusion model as the classifier."""

BUILT_IN_SOURCES = ("fashion_few",)
"""Classifiers that ship inside the package, each trained with several seeds."""

_SEED = "{seed}"


def has_seeds(source: str) -> bool:
    """True if each seed has its own trained classifier."""
    return source in BUILT_IN_SOURCES or _SEED in source


def source_folder(source: str, seed: int) -> Path:
    """Folder of a classifier.

    Args:
        source: A built-in name, a folder, or a folder with ``{seed}`` in its name, which is replaced by the seed.
        seed: Seed of the training.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if source in BUILT_IN_SOURCES:
        folder = PRETRAINED / source / f"seed-{seed}"
        if not folder.is_dir():
            known = sorted(int(path.name.removeprefix("seed-")) for path in folder.parent.glob("seed-*"))
            raise FileNotFoundError(
                f"the source {source} is built in with the seeds {', '.join(map(str, known)) or 'none'}, not {seed}; "
                "choose among them with --seeds"
            )
        return folder
    folder = Path(source.replace(_SEED, str(seed)))
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no source {source}: there is no folder {folder}, and built in are {', '.join(BUILT_IN_SOURCES)}"
        )
    return folder
