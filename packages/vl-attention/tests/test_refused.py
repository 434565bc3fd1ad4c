"""Invalid input to `AttentionTransfer` is refused with what to change: one table per step."""

import warnings
from types import SimpleNamespace

import pytest
import timm
import torch
from vl_attention import AttentionTransfer, Normalization
from vl_attention.classifiers.classifier import Classifier
from vl_attention.models.inference import check_images


def masked_autoencoder_of_transformers():
    from transformers import ViTMAEConfig, ViTMAEModel

    size = {"image_size": 16, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    return ViTMAEModel(ViTMAEConfig(**size, mask_ratio=0.0))


def two_towers():
    from transformers import CLIPConfig, CLIPModel

    small = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    text = {**small, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=small))


def siglip2():
    from transformers import Siglip2VisionConfig, Siglip2VisionModel

    size = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    return Siglip2VisionModel(Siglip2VisionConfig(**size, num_patches=16, patch_size=8))


def unfused(model):
    for block in model.blocks:
        block.attn.fused_attn = False
    return model


def traced(model):
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.trace(model, torch.rand(1, 3, 32, 32))


class Features(torch.nn.Module):
    """A model with the blocks of another that returns no logits."""

    def __init__(self, model):
        super().__init__()
        self.model, self.patch_embed, self.cls_token = model, model.patch_embed, model.cls_token

    def forward(self, images):
        return (self.model.forward_features(images),)


MODELS = {
    "no attention": (lambda make, vit: (timm.create_model("resnet10t"),),
                     r"ResNet has no self-attention.*its blocks are.*pass a model with a list of blocks"),
    "masked autoencoder": (lambda make, vit: (masked_autoencoder_of_transformers(),),
                           r"ViTMAEModel hides and shuffles patches.*ViTModel\.from_pretrained"),
    "SigLIP 2": (lambda make, vit: (siglip2(),),
                 r"Siglip2VisionModel takes packed patches.*transformers\.SiglipVisionModel"),
    "two towers": (lambda make, vit: (two_towers(),), r"several stacks of attention.*pass the vision tower alone"),
    "wrapped student": (lambda make, vit: (make(), Classifier(make(seed=1))),
                        r"student must be a plain timm or transformers model, got Classifier.* pass its \.student"),
    "wrapped teacher": (lambda make, vit: (AttentionTransfer(make()),),
                        r"teacher must be a plain timm or transformers model, got AttentionTransfer"),
    "student is the teacher": (lambda make, vit: (make(),) * 2, r"different objects; leave student=None"),
    "CLIP without num_classes": (lambda make, vit: (make("transformers CLIP"),),
                                 r"num_classes must be .* teacher has no classifier"),
    "SigLIP without num_classes": (lambda make, vit: (make("transformers SigLIP"),),
                                   r"num_classes must be .* teacher has no classifier"),
    "traced teacher": (lambda make, vit: (traced(make()),),
                       r"teacher must be a plain .* got a traced or scripted one, .* model that it was made from"),
    "teacher in eight bits": (lambda make, vit: (make().to(torch.float8_e4m3fn),),
                              r"teacher must have weights in float32, .* got torch.float8_e4m3fn; convert it with"),
    "student without a classifier": (lambda make, vit: (make(), vit(seed=1, num_classes=0)),
                                     r"student has no classifier .*reset_classifier"),
}  # fmt: skip
"""Arguments of `AttentionTransfer`, and the message."""


@pytest.mark.parametrize("case", MODELS)
def test_models_that_cannot_work_are_refused(make, vit, case):
    arguments, message = MODELS[case]
    models = arguments(make, vit)
    with pytest.raises(ValueError, match=message):
        AttentionTransfer(*models)


def test_a_teacher_by_name_is_refused():
    with pytest.raises(TypeError, match=r"teacher must be a model, got str; load it first"):
        AttentionTransfer("vit_tiny_patch16_224")


def test_options_of_a_built_student_are_refused_beside_a_given_one(make):
    with pytest.raises(ValueError, match=r"apply to a student that is built here"):
        AttentionTransfer(make(), make(seed=1), num_classes=3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mode": "clone"}, r"mode must be one of distill, .*copy.*got 'clone'"),
        ({"layers": [3]}, r"layer 3, and there are 3: 0 to 2"),
        ({"layers": {0: 9}}, r"teacher layer 9"),
        ({"heads": {0: 3}}, r"teacher head 3, and there are 3"),
        ({"heads": [0, 1, 2, 3]}, r"head 3, and there are 3"),
        ({"mode": "output", "heads": [0]}, r"heads must be 'all' in mode='output'"),
        ({"mode": "relations", "heads": [0]}, r"heads must be 'all' in mode='relations'"),
        ({"mode": "copy", "heads": {0: [1, 2]}}, r"cannot average several.*use mode='distill'"),
        ({"num_classes": 0}, r"num_classes must be the student's number of classes, 1 or more, got 0"),
        ({"num_classes": -1}, r"num_classes must be the student's number of classes, .* got -1"),
        ({"num_classes": 2.5}, r"num_classes must be the student's number of classes, .* got 2.5"),
        ({"layers": 2}, r"layers must be a list of whole numbers, got the number 2; for a single one pass \[2\]"),
        ({"heads": 2}, r"heads must be a list .* number 2; .* pass \[2\], and for the first ones 'first:2'"),
        ({"drop_path": 1.0}, r"drop_path must be at least 0 and below 1"),
        ({"student_normalization": Normalization((0.5,), (0.5,))}, r"equal numbers of channels, got 1 and 3"),
        ({"relation_heads": 3}, r"relation_heads applies to mode='relations', got mode='distill'"),
        ({"mode": "distill_q", "heads": {0: [1, 2]}}, r"mode='distill_q' takes one teacher head .*use mode='distill'"),
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused(make, images, options, match):
    with pytest.raises(ValueError, match=match):
        AttentionTransfer(make(), **options)(images)


WIDTHS = r"student heads have 8 dimensions and teacher heads 16; .*mode='copy'"
PAIRS = {
    "copy_q of another width": (lambda vit: vit(embed_dim=24), {"mode": "copy_q"}, WIDTHS),
    "copy_k of another width": (lambda vit: vit(embed_dim=24), {"mode": "copy_k"}, WIDTHS),
    "copy_v of another width": (lambda vit: vit(embed_dim=24), {"mode": "copy_v"}, WIDTHS),
    "some heads of another width": (lambda vit: vit(embed_dim=24), {"mode": "copy", "heads": [0]}, WIDTHS),
    "output of another width": (lambda vit: vit(embed_dim=24), {"mode": "output"},
                                r"models of equal width.*24 channels, the teacher 48"),
    "vectors of another width": (lambda vit: vit(embed_dim=24), {"mode": "distill_q"},
                                 r"mode='distill_q' needs heads of equal width.* 8 dimensions.*teacher's 16"),
    "relation heads": (lambda vit: vit(seed=1), {"mode": "relations", "relation_heads": 5},
                       r"relation_heads must divide the widths 48 and 48, got 5"),
    "no relation heads": (lambda vit: vit(seed=1), {"mode": "relations", "relation_heads": 0},
                          r"relation_heads must divide the widths 48 and 48, got 0"),
    "copied tokens": (lambda vit: vit(reg_tokens=2), {"mode": "copy"}, r"student has 19 tokens and the teacher 17"),
    "other patches": (lambda vit: vit(patch_size=4), {},
                      r"student divides images of 32 x 32 pixels into 8 x 8 patches of 4 x 4, and the teacher .* 4 x 4 "
                      r"patches of 8 x 8; .*img_size=\(16, 16\)"),
    "other proportions": (lambda vit: vit(img_size=(16, 64)), {}, r"2 x 8 patches .* 4 x 4 patches .*\(32, 32\)"),
    "other patches of any size": (lambda vit: vit(patch_size=16, dynamic_img_size=True), {}, r"img_size=\(64, 64\)"),
    "other channels": (lambda vit: vit(in_chans=1), {}, r"equal numbers of channels, got 1 and 3; .*in_chans=3"),
    "dropped patches": (lambda vit: vit(patch_drop_rate=0.5), {},
                        r"leaves out some in training: patch_drop at a rate of 0.5; create it with patch_drop_rate=0"),
    "unfused": (lambda vit: unfused(vit()), {}, r"turn fused attention on: timm.layers.set_fused_attn\(True, "),
    "no logits": (lambda vit: Features(vit()), {}, r"the student must return logits .* got"),
    "depths of drop path": (lambda vit: vit(depth=4), {"layers": [0], "teacher_drop_path": True},
                            r"models of equal depth, .* 4 blocks in the student and 3 in the teacher"),
}  # fmt: skip
"""A student, options beside the usual teacher, and the message."""


@pytest.mark.parametrize("case", PAIRS)
def test_pairs_that_cannot_work_are_refused_when_they_are_put_together(make, vit, case):
    build, options, message = PAIRS[case]
    student = build(vit)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        AttentionTransfer(make(), student, **options)
    assert before.keys() == student.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_a_student_that_copies_already_is_refused_on_either_side(make):
    student = make(seed=1)
    AttentionTransfer(make(), student, mode="copy")
    for name, models in {"student": (make(), student), "teacher": (student, make())}.items():
        with pytest.raises(ValueError, match=f"{name} must have attention of its own.*changes its student in place"):
            AttentionTransfer(*models)


@pytest.mark.parametrize("side", ["teacher", "student"])
def test_models_wrapped_for_several_devices_are_refused(make, side):
    models = {"teacher": make(), "student": make(seed=1)}
    models[side] = torch.nn.DataParallel(models[side])
    with pytest.raises(ValueError, match=rf"{side} must be a plain .* got DataParallel; pass its \.module"):
        AttentionTransfer(**models)


FUSED = r"turn fused attention on: timm.layers.set_fused_attn\(True, experimental=True\)"
FLOATS = r"images must be floats \(B, C, H, W\) in 0..1, got"
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
CALLS = {
    "teacher without fused attention": ({}, lambda transfer: unfused(transfer.teacher), None, FUSED),
    "student without fused attention": ({}, lambda transfer: unfused(transfer.student), None, FUSED),
    "images of rank 3": ({}, None, torch.rand(3, 32, 32), FLOATS),
    "images of bytes": ({}, None, torch.zeros(2, 3, 32, 32, dtype=torch.uint8), FLOATS),
    "a list": ({}, None, [[0.5]], FLOATS),
    "bytes as floats": ({}, None, 255 * IMAGES, rf"{FLOATS} numbers from .* to 25\d.*; divide bytes by 255, and"),
    "floats in -1..1": ({"mode": "copy"}, None, 2 * IMAGES - 1, rf"{FLOATS} numbers from -0.99.* to 0.99"),
    "normalized floats": ({}, lambda transfer: transfer.half(), (IMAGES - 0.45) / 0.22, rf"{FLOATS} numbers from -2"),
    "channels": ({}, None, torch.rand(2, 1, 32, 32), r"images must have 3 channels, got 1"),
    "another size": ({}, None, torch.rand(2, 3, 16, 24), r"teacher's size, 32 x 32 pixels, got 16 x 24; resize them"),
    "another device": ({}, lambda transfer: transfer.teacher.to("meta"), None,
                       r"on the device of VisionTransformer, meta, got cpu; move"),
    **{f"no images for {mode}": ({"mode": mode}, None, torch.rand(0, 3, 32, 32), r"at least one image for a transfer")
       for mode in ("distill", "distill_k", "output", "relations")},
}  # fmt: skip
"""Options of an `AttentionTransfer`, what befalls it, its images if they are not the usual ones, and the message."""


@pytest.mark.parametrize("case", CALLS)
def test_calls_that_cannot_work_are_refused(make, images, case):
    options, change, given, message = CALLS[case]
    transfer = AttentionTransfer(make(), **options)
    if change is not None:
        change(transfer)
    with pytest.raises(ValueError, match=message):
        transfer(images if given is None else given)


@pytest.mark.parametrize("strength", [{"noise": 0.1}, {"overshoot": 0.24}, {"few": 99.0}], ids=str)
def test_augmented_images_may_leave_the_range_a_little(make, strength):
    images = (IMAGES + strength.get("noise", 0) * torch.randn(IMAGES.shape)) * (1 + strength.get("overshoot", 0))
    images.flatten()[:9] += strength.get("few", 0)
    assert AttentionTransfer(make())(images).logits.isfinite().all()


def test_on_an_accelerator_only_the_first_images_of_a_model_are_read(make, monkeypatch):
    read = []
    monkeypatch.setattr("vl_attention.models.inference._check_values", read.append)
    elsewhere = SimpleNamespace(type="cuda")
    monkeypatch.setattr(torch.Tensor, "device", elsewhere)
    model, other = torch.nn.Identity(), torch.nn.Identity()
    for given in (model, model, other, None, None):
        check_images(IMAGES, given)
    assert len(read) == 4


def test_transformers_with_eager_attention_is_refused(make):
    teacher = make("transformers ViT")
    teacher.set_attn_implementation("eager")
    with pytest.raises(ValueError, match=r"attn_implementation='sdpa'"):
        AttentionTransfer(teacher, num_classes=5)


@pytest.mark.parametrize("mode", ["copy", "copy_q", "copy_k", "copy_v"])
def test_a_loss_is_not_given_where_there_is_none(make, images, mode):
    with pytest.raises(ValueError, match=rf"with_loss=True .* mode='{mode}' has none"):
        AttentionTransfer(make(), mode=mode)(images, with_loss=True)


@pytest.mark.parametrize(
    "options", [{"depth": 5}, {"depth": 2}, {"init_values": 0.1}, {"qk_norm": True}], ids=lambda o: str(*o.items())
)
def test_a_saved_student_of_another_build_is_refused(vit, tmp_path, options):
    AttentionTransfer(vit(), layers=[0]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"does not fit this teacher's architecture"):
        AttentionTransfer.from_pretrained(tmp_path, teacher=vit(**options))


@pytest.mark.parametrize("mode", ["copy", "copy_q", "copy_k", "copy_v"])
def test_a_student_that_copies_cannot_be_exported(make, mode):
    with pytest.raises(ValueError, match=r"needs its teacher at inference; use this AttentionTransfer itself"):
        AttentionTransfer(make(), mode=mode).export()
