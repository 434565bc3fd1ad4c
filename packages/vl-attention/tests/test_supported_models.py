"""timm's families with attention: what is transferred, and what is refused when it is put together, and why."""

import pytest
import timm
import torch
from timm.layers import set_fused_attn
from vl_attention import AttentionTransfer, attention_maps
from vl_attention.attention.rehearsal import check_attention
from vl_attention.models.grids import ImageGrid
from vl_attention.models.layout import ViTLayout
from vl_attention.models.weightless import weightless_copy

SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 3, "img_size": 32}
TAKEN = {
    "aimv2_large_patch14_224": {**SMALL, "patch_size": 8},
    "beit_base_patch16_224": {**SMALL, "patch_size": 8},
    "deit3_small_patch16_224": {**SMALL, "patch_size": 8},
    "deit_tiny_distilled_patch16_224": {**SMALL, "patch_size": 8},
    "eva02_tiny_patch14_224": {**SMALL, "patch_size": 8},
    "flexivit_small": {**SMALL, "patch_size": 8},
    "naflexvit_base_patch16_gap": {"depth": 2, "embed_dim": 48, "num_heads": 3},
    "qwen3_vit_88m": {"depth": 2},
    "vit_base_patch16_clip_224": {**SMALL, "patch_size": 8},
    "vit_base_patch16_rope_reg1_gap_256": {**SMALL, "patch_size": 8},
    "vit_base_patch16_siglip_224": {**SMALL, "patch_size": 8},
    "vit_relpos_small_patch16_224": {**SMALL, "patch_size": 8},
    "vit_small_patch14_reg4_dinov2": {**SMALL, "patch_size": 8},
    "vit_small_patch16_dinov3": {**SMALL, "patch_size": 8},
    "vit_wee_patch16_reg1_gap_256": {**SMALL, "patch_size": 8},
}
"""Names of timm and how to make them small."""

OTHER = r"computes its attention in another way and has no option for that one"
STACKS = (
    r"has several stacks of attention.*its stages, with \w+.*cannot be transferred; attention transfer needs one list"
)
STAGES = r"has stages, or blocks with several attention modules"
NONE = r"has no self-attention that could be transferred: its blocks are \w+"
PARTS = r"it attends within windows or parts of the image"
ELSEWHERE = r"is within windows, between channels, or to pooled tokens"
REFUSED = {
    "cait_xxs24_224": rf"TalkingHeadAttn in Cait, .*{OTHER}",
    "coat_lite_tiny": STACKS,
    "convit_tiny": rf"MHSA in ConVit, .*{OTHER}",
    "crossvit_tiny_240": STAGES,
    "csatv2": STACKS,
    "efficientformer_l1": rf"Attention in EfficientFormer, .*{OTHER}",
    "hiera_tiny_224": rf"MaskUnitAttention, .*{PARTS}",
    "hieradet_small": rf"MultiScaleAttention in HieraDet, {ELSEWHERE}",
    "levit_128s": STAGES,
    "mvitv2_tiny": STAGES,
    "pit_ti_224": STAGES,
    "pvt_v2_b0": NONE,
    "samvit_base_patch16": rf"Attention, has queries .*{PARTS}",
    "swin_tiny_patch4_window7_224": STAGES,
    "tnt_s_patch16_224": NONE,
    "twins_svt_small": STACKS,
    "visformer_tiny": STACKS,
    "vit_base_patch16_18x2_224": STAGES,
    "vit_base_patch16_xp_224": rf"{NONE}".replace(r"\w+", "ParallelScalingBlock"),
    "vit_dlittle_patch16_reg1_gap_256": r"DiffAttention calls scaled_dot_product_attention more than once",
    "vit_dpwee_patch16_reg1_gap_256": rf"{NONE}".replace(r"\w+", "DiffParallelScalingBlock"),
    "volo_d1_224": STACKS,
    "xcit_nano_12_p16_224": rf"XCA in Xcit, {ELSEWHERE}",
}
"""Names of timm, and the message."""


@pytest.mark.parametrize("name", TAKEN)
def test_plain_vision_transformers_are_taken(name):
    model = timm.create_model(name, num_classes=3, **TAKEN[name])
    check_attention(model, ViTLayout.of(model).attentions, 3)
    transfer = AttentionTransfer(model, layers=[0])
    assert transfer.layers == [(0, 0)]


def test_a_remedy_is_one_that_helps():
    """Visformer takes its fused attention for experimental."""
    with torch.device("meta"):
        unfused = timm.create_model("visformer_small", depth=2)
        with pytest.raises(ValueError, match=r"set_fused_attn\(True, experimental=True\) before the model is created"):
            check_attention(unfused, ViTLayout.of(unfused).attentions, 3)
        try:
            set_fused_attn(True, experimental=True)
            fused = timm.create_model("visformer_small", depth=2)
        finally:
            set_fused_attn(True)
    check_attention(fused, ViTLayout.of(fused).attentions, 3)


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused_with_the_block_that_cannot_be_used(name):
    with torch.device("meta"):  # full size, without weights
        model = timm.create_model(name)
    with pytest.raises(ValueError, match=REFUSED[name]) as refused:
        AttentionTransfer(model)
    message = str(refused.value)
    assert "set_fused_attn" not in message
    assert "vision tower" not in message
    assert "\n" not in message


def test_metaclip_of_transformers_has_a_student_and_its_own_normalization(images):
    from transformers import MetaClip2VisionConfig, MetaClip2VisionModel

    size = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    teacher = MetaClip2VisionModel(MetaClip2VisionConfig(**size, image_size=32, patch_size=8))
    transfer = AttentionTransfer(teacher, num_classes=5, layers="all")
    assert transfer(images).layer_losses.shape == (1,)
    assert transfer.student_normalization.mean[0] == 0.48145466


def test_analysis_refuses_attention_between_channels():
    model = timm.create_model("xcit_nano_12_p16_224", embed_dim=32, depth=1, num_heads=2, img_size=32)
    with pytest.raises(ValueError, match=ELSEWHERE):
        attention_maps(model, torch.rand(1, 3, 32, 32))


def test_a_rehearsal_leaves_models_and_generator_alone(make):
    teacher, student, seen = make(), make(seed=1), []
    for model in (teacher, student):
        model.blocks[0].register_forward_hook(lambda *_: seen.append(1))
    state = torch.get_rng_state()
    modes = [module.training for module in (*teacher.modules(), *student.modules())]
    AttentionTransfer(teacher, student)
    assert not seen
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in (*teacher.modules(), *student.modules())] == modes


def test_a_model_that_cannot_run_without_weights_is_taken_as_it_is(make, images):
    class Decides(torch.nn.Identity):
        def forward(self, x):
            return x if x.sum().item() > -1e9 else None  # without weights there is no number

    teacher = make()
    teacher.norm_pre = Decides()
    expected = AttentionTransfer(make(), make(seed=1))(images).transfer_loss
    assert torch.equal(AttentionTransfer(teacher, make(seed=1))(images).transfer_loss, expected)


def test_a_weightless_copy_shares_nothing_and_has_no_values(make):
    model = make("BEiT")
    copied = weightless_copy(model)
    tensors = {**dict(copied.named_parameters()), **dict(copied.named_buffers())}
    assert tensors.keys() == {**dict(model.named_parameters()), **dict(model.named_buffers())}.keys()
    assert {tensor.device.type for tensor in tensors.values()} == {"meta"}
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


@pytest.mark.parametrize("mode", ["distill", "copy"])
def test_models_of_other_image_sizes_and_the_same_grid_each_get_their_size(vit, mode):
    """A teacher for 32 pixels in patches of 8 and a student for 16 in patches of 4: both have 4 x 4 patches."""
    images = torch.rand(2, 3, 32, 32)
    teacher, student = vit(), vit(seed=1, img_size=16, patch_size=4)
    transfer = AttentionTransfer(teacher, student, mode=mode)
    seen = {}
    for name, model in (("teacher", teacher), ("student", student)):
        model.patch_embed.register_forward_pre_hook(lambda module, args, name=name: seen.update({name: args[0]}))
    for given in (images, images[..., ::2, ::2], torch.rand(2, 3, 20, 24)):
        assert transfer(given).logits.shape == (2, 5)
        assert {name: tuple(x.shape[-2:]) for name, x in seen.items()} == {"teacher": (32, 32), "student": (16, 16)}
    transfer(images)
    torch.testing.assert_close(seen["teacher"], transfer.teacher_normalization(images))
    # Halved without overlap by hand: the filter of an antialiased half has a flat mean on constant images.
    flat = torch.full((2, 3, 32, 32), 0.3)
    transfer(flat)
    torch.testing.assert_close(seen["student"], transfer.student_normalization(flat[..., :16, :16]))


def test_models_of_one_patch_size_share_images_of_any_size_that_they_take(vit):
    transfer = AttentionTransfer(vit(dynamic_img_size=True), vit(seed=1, img_size=16, dynamic_img_size=True))
    assert transfer(torch.rand(2, 3, 24, 40)).transfer_loss > 0


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("ViT", ImageGrid((32, 32), (4, 4), True)),
        ("transformers DINOv2", ImageGrid((32, 32), (4, 4), False)),
        ("CLIP", ImageGrid((32, 32), (4, 4), True)),
    ],
)
def test_grids_are_read_from_both_libraries(make, name, grid):
    assert ImageGrid.of(make(name)) == grid
    assert grid.stride == (8, 8)
