"""Input that cannot work is refused with what to change."""

import pytest
import timm
import torch
from vl_attention import AttentionTransfer, Normalization
from vl_attention.classifiers.classifier import Classifier


def test_a_teacher_without_attention_is_refused():
    with pytest.raises(ValueError, match=r"ResNet has no self-attention.*pass a vision transformer"):
        AttentionTransfer(timm.create_model("resnet10t"))


def test_a_teacher_by_name_is_refused():
    with pytest.raises(TypeError, match=r"teacher must be a model, got str; load it first"):
        AttentionTransfer("vit_tiny_patch16_224")


def test_a_masked_autoencoder_of_transformers_is_refused():
    from transformers import ViTMAEConfig, ViTMAEModel

    size = {"image_size": 16, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    with pytest.raises(ValueError, match=r"ViTMAEModel hides and shuffles patches.*ViTModel\.from_pretrained"):
        AttentionTransfer(ViTMAEModel(ViTMAEConfig(**size, mask_ratio=0.0)))


def test_models_that_hold_a_model_are_refused(make):
    wrapped = Classifier(make(seed=1))
    with pytest.raises(
        ValueError, match=r"student must be a plain timm or transformers model, got Classifier.* pass its \.student"
    ):
        AttentionTransfer(make(), wrapped)
    with pytest.raises(ValueError, match=r"teacher must be a plain timm or transformers model, got AttentionTransfer"):
        AttentionTransfer(AttentionTransfer(make()))


def test_two_towers_are_refused():
    from transformers import CLIPConfig, CLIPModel

    small = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    text = {**small, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = CLIPConfig(text_config=text, vision_config=small)
    with pytest.raises(ValueError, match=r"several stacks of attention.*pass the vision tower alone"):
        AttentionTransfer(CLIPModel(config))


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


def test_a_student_that_is_the_teacher_is_refused(make):
    teacher = make()
    with pytest.raises(ValueError, match=r"different objects; leave student=None"):
        AttentionTransfer(teacher, teacher)


def test_options_of_a_built_student_are_refused_beside_a_given_one(make):
    with pytest.raises(ValueError, match=r"apply to a student that is built here"):
        AttentionTransfer(make(), make(seed=1), num_classes=3)


@pytest.mark.parametrize("name", ["transformers CLIP", "transformers SigLIP"])
def test_a_teacher_without_a_classifier_asks_for_a_number(make, name):
    with pytest.raises(ValueError, match=r"num_classes must be .* teacher has no classifier"):
        AttentionTransfer(make(name))


def test_a_student_without_a_classifier_is_refused(make, vit):
    with pytest.raises(ValueError, match=r"student has no classifier .*reset_classifier"):
        AttentionTransfer(make(), vit(seed=1, num_classes=0))


@pytest.mark.parametrize("mode", ["copy_q", "copy_k", "copy_v"])
def test_a_part_of_another_width_is_refused(make, vit, images, mode):
    transfer = AttentionTransfer(make(), vit(seed=1, embed_dim=24), mode=mode)
    with pytest.raises(ValueError, match=r"student heads have 8 dimensions and teacher heads 16; .*mode='copy'"):
        transfer(images)


@pytest.mark.parametrize(
    "options", [{"depth": 5}, {"depth": 2}, {"init_values": 0.1}, {"qk_norm": True}], ids=lambda o: str(*o.items())
)
def test_a_saved_student_of_another_build_is_refused(vit, tmp_path, options):
    AttentionTransfer(vit(), layers=[0]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"does not fit this teacher's architecture"):
        AttentionTransfer.from_pretrained(tmp_path, teacher=vit(**options))


def test_other_patches_are_refused(make, vit, images):
    transfer = AttentionTransfer(make(), vit(patch_size=16))
    with pytest.raises(ValueError, match=r"into 4 patches and the teacher into 16; both need the same grid"):
        transfer(images)


@pytest.mark.parametrize(
    "images",
    [torch.rand(3, 32, 32), torch.zeros(2, 3, 32, 32, dtype=torch.uint8), [[0.5]]],
    ids=["rank", "dtype", "list"],
)
def test_what_is_no_batch_of_images_is_refused(make, images):
    with pytest.raises(ValueError, match=r"images must be floats \(B, C, H, W\) in 0..1, got"):
        AttentionTransfer(make())(images)


def test_another_number_of_channels_is_refused(make):
    with pytest.raises(ValueError, match=r"images must have 3 channels, got 1"):
        AttentionTransfer(make())(torch.rand(2, 1, 32, 32))


@pytest.mark.parametrize("of", ["teacher", "student"])
def test_timm_without_fused_attention_is_refused(make, images, of):
    transfer = AttentionTransfer(make())
    for block in getattr(transfer, of).blocks:
        block.attn.fused_attn = False
    with pytest.raises(ValueError, match=r"turn fused attention on: timm.layers.set_fused_attn\(True\)"):
        transfer(images)


def test_transformers_with_eager_attention_is_refused(make, images):
    teacher = make("transformers ViT")
    teacher.set_attn_implementation("eager")
    with pytest.raises(ValueError, match=r"attn_implementation='sdpa'"):
        AttentionTransfer(teacher, num_classes=5)(images)


@pytest.mark.parametrize("mode", ["copy", "copy_q", "copy_k", "copy_v"])
def test_a_student_that_copies_cannot_be_exported(make, mode):
    with pytest.raises(ValueError, match=r"needs its teacher at inference; use this AttentionTransfer itself"):
        AttentionTransfer(make(), mode=mode).export()


def test_outputs_of_other_widths_are_refused(make, vit, images):
    transfer = AttentionTransfer(make(), vit(embed_dim=24), mode="output")
    with pytest.raises(ValueError, match=r"models of equal width.*24 channels, the teacher 48"):
        transfer(images)


def test_relation_heads_that_do_not_divide_are_refused(make, images):
    with pytest.raises(ValueError, match=r"relation_heads must divide the widths 48 and 48, got 5"):
        AttentionTransfer(make(), mode="relations", relation_heads=5)(images)
