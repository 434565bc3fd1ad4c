"""Prefix tokens, and errors for models without a single list of attention modules."""

import pytest
import timm
import torch
from timm.models.vision_transformer import ParallelThingsBlock
from vl_attention import AttentionTransfer, Normalization, ViTLayout, attention_maps
from vl_attention.models.grids import ImageGrid

_SIZE = {"image_size": 32, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
_TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}


def of_transformers(name, config, **options):
    transformers = pytest.importorskip("transformers")
    return getattr(transformers, name)(getattr(transformers, config)(**_SIZE, intermediate_size=48, **options))


@pytest.mark.parametrize(
    ("name", "config", "options", "prefix"),
    [
        ("DeiTModel", "DeiTConfig", {}, ("class", "distillation")),
        ("IJepaModel", "IJepaConfig", {}, ()),
        ("ViTModel", "ViTConfig", {}, ("class",)),
        ("CLIPVisionModel", "CLIPVisionConfig", {}, ("class",)),
        ("SiglipVisionModel", "SiglipVisionConfig", {}, ()),
        ("Aimv2VisionModel", "Aimv2VisionConfig", {}, ()),
        ("DINOv3ViTModel", "DINOv3ViTConfig", {"num_register_tokens": 2}, ("class", "register 0", "register 1")),
        ("PixioModel", "PixioConfig", {"n_cls_tokens": 3}, ("class", "class 1", "class 2")),
    ],
)
def test_tokens_before_the_patches_are_those_of_the_model(name, config, options, prefix):
    model = of_transformers(name, config, **options)
    assert ViTLayout.of(model).prefix == prefix
    tokens = attention_maps(model, torch.rand(1, 3, 32, 32), layers=[0])[0].shape[-1]
    assert tokens == len(prefix) + 16


class Wrapped(torch.nn.Module):
    """A user's own module around a ViT."""

    def __init__(self, model):
        super().__init__()
        self.net = torch.nn.Sequential(model)

    def forward(self, images):
        return self.net(images)


@pytest.mark.parametrize("options", [{}, {"reg_tokens": 2}, {"class_token": False, "global_pool": "avg"}], ids=str)
def test_a_vit_inside_of_a_module_is_seen_as_it_is_alone(options):
    inner = timm.create_model("vit_tiny_patch16_224", **{**_TINY, **options})
    other = timm.create_model("vit_tiny_patch16_224", **{**_TINY, **options})
    model, images = Wrapped(inner).train(), torch.rand(2, 3, 32, 32)
    assert ViTLayout.of(model).prefix == ViTLayout.of(inner).prefix
    assert ViTLayout.of(model).components == ViTLayout.of(inner).components
    assert ImageGrid.of(model) == ImageGrid.of(inner)
    assert Normalization.of(model) == Normalization.of(inner)
    for pair in ((model, other), (other, model)):
        plain = [inner if one is model else one for one in pair]
        losses = [AttentionTransfer(*models)(images, with_loss=True).transfer_loss for models in (pair, plain)]
        assert torch.equal(*losses)


def test_a_distilled_deit_of_transformers_teaches_that_of_timm():
    teacher = of_transformers("DeiTForImageClassification", "DeiTConfig", num_labels=5)
    student = timm.create_model("deit_tiny_distilled_patch16_224", **_TINY)
    for transfer in (AttentionTransfer(teacher, student, mode="copy"), AttentionTransfer(teacher, mode="copy")):
        assert transfer(torch.rand(2, 3, 32, 32)).logits.shape == (2, 5)


def test_a_teacher_without_a_class_token_teaches_its_patches():
    teacher = of_transformers("IJepaForImageClassification", "IJepaConfig", num_labels=5)
    transfer = AttentionTransfer(teacher, timm.create_model("vit_tiny_patch16_224", **_TINY)).train()
    assert transfer(torch.rand(2, 3, 32, 32)).transfer_loss > 0
    assert AttentionTransfer(teacher, mode="copy")(torch.rand(2, 3, 32, 32)).logits.shape == (2, 5)


def test_blocks_of_several_attentions_and_stages_are_refused_as_such():
    parallel = timm.create_model("vit_tiny_patch16_224", **_TINY, block_fn=ParallelThingsBlock)
    with pytest.raises(
        ValueError, match=r"several attention modules, such as blocks\.0\.attns .* one attention module in each"
    ):
        ViTLayout.of(parallel)
    staged = timm.create_model("swin_tiny_patch4_window7_224", img_size=32, window_size=2, embed_dim=24, depths=(1, 1))
    with pytest.raises(ValueError, match=r"has stages, .* layers\.0\.blocks and layers\.1\.blocks; .* one list of"):
        ViTLayout.of(staged)
