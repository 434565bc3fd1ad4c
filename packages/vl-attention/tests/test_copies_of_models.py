"""Copies of models drop hooks and patch dropout."""

import copy
import gc
import pickle

import pytest
import torch
from vl_attention import AttentionTransfer


def _hooks(model):
    return [hook for m in model.modules() for hook in (*m._forward_pre_hooks.values(), *m._forward_hooks.values())]


def _pickled(transfer):
    return pickle.loads(pickle.dumps(transfer))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, _pickled])
def test_a_copied_transfer_works_and_exports_a_plain_model(make, images, duplicate):
    transfer = AttentionTransfer(make(), make(seed=1))
    other = duplicate(transfer)
    torch.testing.assert_close(other(images).transfer_loss, transfer(images).transfer_loss)
    assert not _hooks(other.export())
    assert not _hooks(transfer.export())


def test_a_teachers_copy_may_teach_beside_the_copied_transfer(make, images):
    transfer = copy.deepcopy(AttentionTransfer(make(), make(seed=1)))
    beside = AttentionTransfer(transfer.teacher, transfer.student)
    torch.testing.assert_close(beside(images).transfer_loss, transfer(images).transfer_loss)


def test_hooks_of_a_copied_teacher_are_replaced(make, images):
    teacher = make()
    transfer = AttentionTransfer(teacher, make(seed=1))
    tuned = copy.deepcopy(teacher)
    other = AttentionTransfer(tuned, make(seed=1))
    assert len(_hooks(tuned)) == len(_hooks(teacher))
    torch.testing.assert_close(other(images).transfer_loss, transfer(images).transfer_loss)
    del transfer, other
    gc.collect()
    assert not _hooks(tuned)
    assert not _hooks(teacher)


def test_hooks_of_the_teacher_are_not_copied_to_the_student(make, images):
    teacher, seen = make(), []
    teacher.blocks[0].register_forward_hook(lambda module, args, output: seen.append(module))
    AttentionTransfer(teacher)(images)
    assert seen == [teacher.blocks[0]]


def test_a_random_student_sees_all_patches(vit, images):
    transfer = AttentionTransfer(vit(patch_drop_rate=0.5), seed=0)
    assert transfer.train()(images).transfer_loss > 0
