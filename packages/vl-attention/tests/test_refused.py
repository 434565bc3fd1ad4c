"""Invalid input to `AttentionTransfer` is refused with what to change: one table per step."""

import pytest
import timm
import torch
from vl_attention import AttentionTransfer, Normalization
from vl_attention.classifiers.classifier import Classifier


def masked_autoencoder_of_transformers():
    from transformers import ViTMAEConfig, ViTMAEModel

    size = {"image_size": 16, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    return ViTMAEModel(ViTMAEConfig(**size, mask_ratio=0.0))


def two_towers():
    from transformers import CLIPConfig, CLIPModel

    small = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    text = {**small, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=small))


def unfused(transfer, name):
    for block in getattr(transfer, name).blocks:
        block.attn.fused_attn = False
    return transfer


MODELS = {
    "no attention": (lambda make, vit: (timm.create_model("resnet10t"),),
                     r"ResNet has no self-attention.*pass a vision transformer"),
    "masked autoencoder": (lambda make, vit: (masked_autoencoder_of_transformers(),),
                           r"ViTMAEModel hides and shuffles patches.*ViTModel\.from_pretrained"),
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
        ({"mode": "clone"}, r"mode must be one of distill, copy.*got 'clone'"),
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
        ({"drop_path": 1.0}, r"drop_path must be at least 0 and below 1"),
        ({"student_normalization": Normalization((0.5,), (0.5,))}, r"images must have 1 channels, got 3"),
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused(make, images, options, match):
    with pytest.raises(ValueError, match=match):
        AttentionTransfer(make(), **options)(images)


WIDTHS = r"student heads have 8 dimensions and teacher heads 16; .*mode='copy'"
FUSED = r"turn fused attention on: timm.layers.set_fused_attn\(True\)"
FLOATS = r"images must be floats \(B, C, H, W\) in 0..1, got"
CALLS = {
    "copy_q of another width": (lambda make, vit: AttentionTransfer(make(), vit(seed=1, embed_dim=24), mode="copy_q"),
                                None, WIDTHS),
    "copy_k of another width": (lambda make, vit: AttentionTransfer(make(), vit(seed=1, embed_dim=24), mode="copy_k"),
                                None, WIDTHS),
    "copy_v of another width": (lambda make, vit: AttentionTransfer(make(), vit(seed=1, embed_dim=24), mode="copy_v"),
                                None, WIDTHS),
    "output of another width": (lambda make, vit: AttentionTransfer(make(), vit(embed_dim=24), mode="output"),
                                None, r"models of equal width.*24 channels, the teacher 48"),
    "relation heads": (lambda make, vit: AttentionTransfer(make(), mode="relations", relation_heads=5),
                       None, r"relation_heads must divide the widths 48 and 48, got 5"),
    "other patches": (lambda make, vit: AttentionTransfer(make(), vit(patch_size=16)),
                      None, r"into 4 patches and the teacher into 16; both need the same grid"),
    "teacher without fused attention": (lambda make, vit: unfused(AttentionTransfer(make()), "teacher"), None, FUSED),
    "student without fused attention": (lambda make, vit: unfused(AttentionTransfer(make()), "student"), None, FUSED),
    "images of rank 3": (lambda make, vit: AttentionTransfer(make()), torch.rand(3, 32, 32), FLOATS),
    "images of bytes": (lambda make, vit: AttentionTransfer(make()), torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
                        FLOATS),
    "a list": (lambda make, vit: AttentionTransfer(make()), [[0.5]], FLOATS),
    "channels": (lambda make, vit: AttentionTransfer(make()), torch.rand(2, 1, 32, 32),
                 r"images must have 3 channels, got 1"),
}  # fmt: skip
"""An `AttentionTransfer`, its images if they are not the usual ones, and the message."""


@pytest.mark.parametrize("case", CALLS)
def test_calls_that_cannot_work_are_refused(make, vit, images, case):
    build, given, message = CALLS[case]
    transfer = build(make, vit)
    with pytest.raises(ValueError, match=message):
        transfer(images if given is None else given)


def test_transformers_with_eager_attention_is_refused(make, images):
    teacher = make("transformers ViT")
    teacher.set_attn_implementation("eager")
    with pytest.raises(ValueError, match=r"attn_implementation='sdpa'"):
        AttentionTransfer(teacher, num_classes=5)(images)


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
