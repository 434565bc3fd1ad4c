"""Gradient checkpointing."""

import pytest
import torch
from timm.layers import set_reentrant_ckpt
from vl_attention import AttentionTransfer


@pytest.fixture
def reentrant():
    """The older kind of checkpointing, which runs the forward pass without gradients."""
    set_reentrant_ckpt(True)
    yield
    set_reentrant_ckpt(False)


def _gradients(transfer, *batches):
    sum(transfer(images).transfer_loss for images in batches).backward()
    return {name: p.grad for name, p in transfer.student.named_parameters() if p.grad is not None}


def test_distillation_is_the_same_with_several_batches_before_the_backward_pass(make, images):
    plain, recomputed = (AttentionTransfer(make(), make(seed=1)).train() for _ in range(2))
    recomputed.student.set_grad_checkpointing(True)
    expected, found = (_gradients(transfer, images, images.flip(-1)) for transfer in (plain, recomputed))
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], msg=name)


def test_distillation_without_gradient_is_refused(make, images, reentrant):
    transfer = AttentionTransfer(make(), make(seed=1)).train()
    transfer.student.set_grad_checkpointing(True)
    with pytest.raises(ValueError, match=r"layer 0 without gradients, .*use_reentrant=False"):
        transfer(images)


@pytest.mark.parametrize("mode", ["copy", "copy_q", "copy_k", "copy_v"])
def test_copied_attention_refuses_gradient_checkpointing_before_it_computes(make, images, mode):
    transfer = AttentionTransfer(make(), make(seed=1), mode=mode).train()
    transfer.student.set_grad_checkpointing(True)
    with pytest.raises(ValueError, match=rf"mode='{mode}' does not work with gradient checkpointing, .* turn off"):
        transfer(images)
    assert transfer.eval()(images).logits.shape == (2, 5)


def test_copied_attention_is_never_stale(make, images):
    transfer = AttentionTransfer(make(), make(seed=1), mode="copy")
    transfer(images)
    with pytest.raises(RuntimeError, match="needs the attention of a teacher"):
        transfer.student(images)
