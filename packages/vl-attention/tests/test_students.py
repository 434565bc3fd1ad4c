"""Random students have the teacher's architecture; a given student that lacks parts gets a warning."""

import copy
import warnings

import pytest
import timm
import torch
from timm.layers import DropPath
from transformers import Dinov2Config, Dinov2Model
from vl_attention import ArchitectureMismatchWarning, AttentionTransfer, random_student


def test_nothing_of_the_teacher_is_left_but_constants(family, make):
    teacher = make(family)
    before = copy.deepcopy(teacher.state_dict())
    student = random_student(teacher, 5, seed=1)
    theirs = {tuple(p.flatten().tolist()) for p in teacher.parameters()}
    for name, parameter in student.named_parameters():
        assert parameter.isfinite().all(), name
        assert parameter.requires_grad
        assert tuple(parameter.flatten().tolist()) not in theirs, name
    assert student.training
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_seed_decides_and_the_global_generator_is_untouched(family, make):
    teacher = make(family)
    state = torch.get_rng_state()
    one, same, other = (random_student(teacher, 5, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_layer_scale_starts_at_its_initial_value(make):
    student = random_student(make("DeiT3"), seed=1)
    for block in student.blocks:
        assert torch.equal(block.ls1.gamma, torch.full((48,), 0.1))


def test_beits_layer_scale_starts_at_its_initial_value(make):
    student = random_student(make("BEiT"), seed=1)
    for block in student.blocks:
        assert torch.equal(block.gamma_1, torch.full((48,), 0.1))


def test_stochastic_depth_rises_to_the_last_block(make):
    student = random_student(make(), drop_path=0.2)
    rates = [b.drop_path1.drop_prob if isinstance(b.drop_path1, DropPath) else 0 for b in student.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2])


def test_rates_of_the_teachers_training_are_not_taken_over():
    rates = {"drop_path_rate": 0.5, "proj_drop_rate": 0.3, "attn_drop_rate": 0.2, "patch_drop_rate": 0.5}
    size = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
    student = random_student(timm.create_model("vit_tiny_patch16_224", **size, **rates))
    images = torch.rand(4, 3, 16, 16)
    assert torch.equal(student.train()(images), student(images))


def test_rates_of_a_teacher_of_transformers_are_not_taken_over():
    size = {"image_size": 16, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    rates = {"drop_path_rate": 0.5, "hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2}
    student = random_student(Dinov2Model(Dinov2Config(**size, **rates)), 3).train()
    images = torch.rand(4, 3, 16, 16)
    assert torch.equal(student(images).logits, student(images).logits)


def test_a_student_without_its_teachers_parts_is_warned_of(make):
    with pytest.warns(ArchitectureMismatchWarning, match=r"lacks.*LayerScale, register tokens"):
        AttentionTransfer(make("DINOv2 with registers"), make(seed=1))


def test_a_student_of_the_same_build_is_not_warned_of(family, make):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        AttentionTransfer(make(family), random_student(make(family), 5, seed=1))
    assert not [warning for warning in found if issubclass(warning.category, ArchitectureMismatchWarning)]
