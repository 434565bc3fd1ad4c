"""Tiny models of every family, and fixtures for the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import nn
from vl_attention.classifiers.classifier import Classifier
from vl_attention.classifiers.saved_models import save_classifier, save_model
from vl_attention.models.normalization import Normalization
from vl_attention.models.students import random_student
from vl_attention.transfer.attention_transfer import AttentionTransfer

_TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}
_PLAIN = {**_TINY, "num_classes": 5}
_GIVEN = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 5,
}


def _timm(name: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, **{**_PLAIN, **options})


def _transformers(name: str, config: str, **options: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import transformers

        return getattr(transformers, name)(getattr(transformers, config)(**{**_GIVEN, **options}))

    return build


def _vision_tower(kind: str) -> Callable[[], nn.Module]:
    """The tower alone, which has no classifier."""
    return _transformers(f"{kind}VisionModel", f"{kind}VisionConfig")


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "ViT": _timm("vit_tiny_patch16_224"),
    "DeiT distilled": _timm("deit_tiny_distilled_patch16_224"),
    "DeiT3": _timm("deit3_small_patch16_224", init_values=0.1),
    "DINOv2 with registers": _timm("vit_small_patch14_reg4_dinov2"),
    "DINOv2 SwiGLU": _timm("vit_giant_patch14_dinov2"),
    "CLIP": _timm("vit_base_patch16_clip_224"),
    "SigLIP": _timm("vit_base_patch16_siglip_224"),
    "qk_norm": _timm("vit_tiny_patch16_224", qk_norm=True),
    "BEiT": lambda: Beit(**_PLAIN, use_rel_pos_bias=True, use_abs_pos_emb=False, init_values=0.1),
    "BEiT shared bias": lambda: Beit(**_PLAIN, use_shared_rel_pos_bias=True, use_abs_pos_emb=False),
    "EVA-02": lambda: Eva(**_PLAIN, qkv_fused=False, swiglu_mlp=True, use_rot_pos_emb=True),
    "EVA": lambda: Eva(**_PLAIN, qkv_fused=True),
    "DINOv3": _timm("vit_small_patch16_dinov3"),
    "relative positions": lambda: VisionTransformerRelPos(**_PLAIN, rel_pos_type="bias", class_token=True),
    "transformers ViT": _transformers("ViTForImageClassification", "ViTConfig"),
    "transformers DINOv2": _transformers("Dinov2ForImageClassification", "Dinov2Config", mlp_ratio=2),
    "transformers DINOv2 with registers": _transformers(
        "Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", mlp_ratio=2
    ),
    "transformers CLIP": _vision_tower("CLIP"),
    "transformers SigLIP": _vision_tower("Siglip"),
}


def _stir(model: nn.Module, seed: int) -> nn.Module:
    """Weights far from their initialization: with biases, LayerScale and tables that do something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """The name of each family in turn."""
    return request.param


@pytest.fixture
def make() -> Callable[..., nn.Module]:
    """Builds the tiny model of a family, in evaluation mode, weights by seed."""

    def build(name: str = "ViT", seed: int = 0) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return _stir(FAMILIES[name](), seed)

    return build


@pytest.fixture
def vit() -> Callable[..., VisionTransformer]:
    """Builds a tiny plain ViT with other sizes than the usual."""

    def build(seed: int = 0, **options: object) -> VisionTransformer:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return _stir(timm.create_model("vit_tiny_patch16_224", **{**_PLAIN, **options}), seed)

    return build


@pytest.fixture
def images() -> torch.Tensor:
    """Two images in 0..1."""
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(7))


_SHADES = ("dark", "gray", "bright")


@pytest.fixture(scope="session")
def images_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz file of gray images, 24 in its split train and 30 in test, in three classes by their brightness."""
    labels = np.arange(54) % 3
    noise = np.random.default_rng(0).integers(-40, 41, (54, 12, 12))
    x = (np.array([50, 125, 200])[labels, None, None] + noise).astype(np.uint8)
    path = tmp_path_factory.mktemp("images") / "shades.npz"
    np.savez(path, x=x, y=labels, classes=np.array(_SHADES), split=np.array(["train"] * 24 + ["test"] * 30))
    return path


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny models in files: teacher, distilled, copied, tuned (its classes in another order), unnamed."""
    folder, half = tmp_path_factory.mktemp("models"), Normalization((0.5,), (0.5,))
    size = {"img_size": 12, "patch_size": 4, "in_chans": 1, "embed_dim": 16, "depth": 2, "num_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teacher = timm.create_model("vit_tiny_patch16_224", **size, num_classes=0, class_token=False, global_pool="avg")
        _stir(teacher, 1)
        save_model(teacher, folder / "teacher", normalization=half)
        for name, mode, seed in (("distilled", "distill", 2), ("copied", "copy", 3)):
            transfer = AttentionTransfer(
                teacher, mode=mode, num_classes=3, layers="all", seed=seed, teacher_normalization=half
            )
            _stir(transfer.student, seed)
            save_classifier(transfer, folder / name, classes=_SHADES)
        for name, classes, count in (("tuned", _SHADES[::-1], 3), ("unnamed", (), 3), ("four", (), 4)):
            model = _stir(random_student(teacher, count, seed=5), 5)
            save_classifier(Classifier(model, half), folder / name, classes=classes)
    return folder
