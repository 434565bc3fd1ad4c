"""Tiny pipelines on disk, saved once a test run, with the hub switched off."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
# Modules beside this file are imported by name.
sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The module `tiny.py` beside this file."""
    return _module("tiny")


@pytest.fixture(scope="session")
def plain() -> ModuleType:
    """The module `plain.py` beside this file."""
    return _module("plain")


@pytest.fixture(scope="session")
def helper() -> Callable[[str], ModuleType]:
    """Loads another module beside this file."""
    return _module


@pytest.fixture(scope="session")
def recording() -> Callable[..., object]:
    """An optimizer that records its gradients, by `recorded.py` beside this file."""
    return _module("recorded").recording


@pytest.fixture(scope="session")
def labeled_folder(pixel_dit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen images in folders of classes, three quarters of them where the tiny DiT sees them on eight draws."""
    make = _module("labeled").make_folder
    return make(tmp_path_factory.mktemp("labeled"), pixel_dit_folder, count=16, draws=8)


def _module(name: str) -> ModuleType:
    """A module beside this file, under a name that no other package's tests have."""
    spec = importlib.util.spec_from_file_location(f"vl_diffusion_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sd_folder(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion that predicts the noise."""
    folder = tmp_path_factory.mktemp("sd")
    tiny.stable_diffusion().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sd_v_folder(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion that predicts the velocity."""
    folder = tmp_path_factory.mktemp("sd_v")
    tiny.stable_diffusion(prediction_type="v_prediction").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def dit_folder(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DiT in a latent space, ten classes, its class names in ``model_index.json``."""
    return tiny.save_dit_pipeline(tiny.dit_pipeline(), tmp_path_factory.mktemp("dit"), tiny.CLASSES)


@pytest.fixture(scope="session")
def pixel_dit_folder(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DiT on gray 28x28 pixels, in the layout of the model that ships."""
    return tiny.save_pixel_model(tiny.pixel_dit(), tmp_path_factory.mktemp("pixel_dit"), tiny.CLASSES)


@pytest.fixture(scope="session")
def pixel_unet_folder(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """U-Net with class labels on gray 28x28 pixels, in the same layout."""
    return tiny.save_pixel_model(tiny.pixel_unet(), tmp_path_factory.mktemp("pixel_unet"), tiny.CLASSES)


@pytest.fixture(scope="session")
def rgb_unet_folder(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same U-Net on three channels."""
    return tiny.save_pixel_model(tiny.pixel_unet(channels=3), tmp_path_factory.mktemp("rgb_unet"), tiny.CLASSES)
