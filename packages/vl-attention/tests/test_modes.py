"""Each transfer mode, compared with an explicit computation."""

import copy
from contextlib import nullcontext
from typing import get_args

import pytest
import torch
from vl_attention import ArchitectureMismatchWarning, AttentionTransfer, set_drop_path
from vl_attention.transfer.attention_transfer import Mode


def _qkv(model, layer, images):
    """Queries, keys and values of a plain timm ViT's block, by hand."""
    x = model._pos_embed(model.patch_embed(images))
    for block in model.blocks[:layer]:
        x = block(x)
    attention = model.blocks[layer].attn
    parts = attention.qkv(model.blocks[layer].norm1(x)).chunk(3, -1)
    return [part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for part in parts]


def _map(q, k):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


def _cross_entropy(student, teacher):
    return -(teacher * student.log()).sum(-1).mean()


def _images(transfer, images):
    return transfer.teacher_normalization(images)


@torch.no_grad()
def test_distillation_is_the_mean_cross_entropy_of_the_maps_summed_over_layers(make, images):
    transfer = AttentionTransfer(make(), make(seed=1), layers={0: 2, 1: 1})
    output, normalized = transfer.train()(images), _images(transfer, images)
    expected = [
        _cross_entropy(
            _map(*_qkv(transfer.student, s, normalized)[:2]), _map(*_qkv(transfer.teacher, t, normalized)[:2])
        )
        for s, t in transfer.layers
    ]
    torch.testing.assert_close(output.layer_losses, torch.stack(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.transfer_loss, sum(expected), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_maps_of_several_heads_are_averaged(make, images):
    transfer = AttentionTransfer(make(), make(seed=1), layers=[1], heads={0: [1, 2], 2: 0})
    normalized = _images(transfer, images)
    ours, theirs = (_map(*_qkv(m, 1, normalized)[:2]) for m in (transfer.student, transfer.teacher))
    target = torch.stack([(theirs[:, 1] + theirs[:, 2]) / 2, theirs[:, 0]], 1)
    expected = _cross_entropy(ours[:, [0, 2]], target)
    torch.testing.assert_close(transfer(images).transfer_loss, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("registers", [0, 2])
def test_only_common_tokens_are_compared(make, vit, images, registers):
    teacher = vit(reg_tokens=4)
    lacks = pytest.warns(ArchitectureMismatchWarning, match="register tokens")
    with nullcontext() if registers else lacks:
        transfer = AttentionTransfer(teacher, vit(seed=1, reg_tokens=registers), layers=[0])
    normalized = _images(transfer, images)
    places = [*range(1 + registers), *range(5, 21)]
    q, k, _ = _qkv(teacher, 0, normalized)
    target = _map(q[:, :, places], k[:, :, places])
    expected = _cross_entropy(_map(*_qkv(transfer.student, 0, normalized)[:2]), target)
    torch.testing.assert_close(transfer(images).transfer_loss, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_outputs_are_compared_by_squares(make, images):
    transfer = AttentionTransfer(make(), make(seed=1), mode="output", layers=[0])
    outputs = []
    for model in (transfer.student, transfer.teacher):
        block = model.blocks[0]
        x = model._pos_embed(model.patch_embed(_images(transfer, images)))
        outputs.append(block.attn(block.norm1(x)))
    expected = (outputs[0] - outputs[1]).square().mean()
    torch.testing.assert_close(transfer(images).transfer_loss, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_relations_compare_other_widths_and_heads(make, vit, images):
    transfer = AttentionTransfer(make(), vit(seed=1, embed_dim=24, num_heads=2), mode="relations", relation_heads=4)
    assert transfer.layers == [(2, 2)]
    normalized, expected = _images(transfer, images), 0.0
    pairs = zip(_qkv(transfer.student, 2, normalized), _qkv(transfer.teacher, 2, normalized), strict=True)
    for ours, theirs in pairs:
        maps = []
        for part in (ours, theirs):
            part = part.transpose(1, 2).flatten(2).unflatten(-1, (4, -1)).transpose(1, 2)
            maps.append(_map(part, part))
        expected += (maps[1] * (maps[1].log() - maps[0].log())).sum(-1).mean() / 3
    torch.testing.assert_close(transfer(images).transfer_loss, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("heads", ["all", {0: 2, 2: 1}], ids=["all heads", "some heads"])
@pytest.mark.parametrize("part", "qkv")
def test_vectors_are_compared_by_squares_over_all_numbers_and_summed_over_layers(make, images, part, heads):
    transfer = AttentionTransfer(make(), make(seed=1), mode=f"distill_{part}", heads=heads)
    output, normalized = transfer.train()(images), _images(transfer, images)
    assert transfer.layers == [(0, 0), (1, 1)]
    for layer, loss in enumerate(output.layer_losses):
        ours, theirs = (_qkv(m, layer, normalized)["qkv".index(part)] for m in (transfer.student, transfer.teacher))
        total = count = 0
        for head, target in ({0: 0, 1: 1, 2: 2} if heads == "all" else heads).items():
            difference = ours[:, head] - theirs[:, target]
            total, count = total + float((difference**2).sum()), count + difference.numel()
        assert loss.item() == pytest.approx(total / count, rel=1e-5)
    torch.testing.assert_close(output.transfer_loss, output.layer_losses.sum())


def _thinned(model, masks, normalized, layer):
    """Queries and keys of a block after blocks whose branches were multiplied by the masks ``(blocks, 2, B)``."""
    x = model._pos_embed(model.patch_embed(normalized))
    for block, (first, second) in zip(model.blocks[:layer], masks[:, :, :, None, None], strict=False):
        x = x + first * block.attn(block.norm1(x))
        x = x + second * block.mlp(block.norm2(x))
    attention = model.blocks[layer].attn
    parts = attention.qkv(model.blocks[layer].norm1(x)).chunk(3, -1)
    return [part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for part in parts[:2]]


@torch.no_grad()
def test_a_teacher_with_the_students_drop_path_skips_the_same_branches(make):
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    teacher = make()
    transfer = AttentionTransfer(teacher, make(seed=1), layers="all", teacher_drop_path=True).train()
    set_drop_path(transfer.student, 0.6)
    torch.manual_seed(3)
    found = transfer(images).layer_losses
    torch.manual_seed(3)
    rates = [0, 0, 0.3, 0.3, 0.6, 0.6]  # of both branches of three blocks
    masks = torch.stack([torch.empty(8).bernoulli_(1 - rate) / (1 - rate) if rate else torch.ones(8) for rate in rates])
    assert 0 < (masks == 0).sum() < 32
    masks, normalized = masks.unflatten(0, (3, 2)), _images(transfer, images)
    for layer in range(3):
        ours, theirs = (_map(*_thinned(m, masks, normalized, layer)) for m in (transfer.student, teacher))
        torch.testing.assert_close(found[layer], _cross_entropy(ours, theirs), atol=1e-5, rtol=1e-5)
    whole = [_map(*_qkv(teacher, 2, normalized)[:2]), _map(*_thinned(transfer.student, masks, normalized, 2))]
    assert (found[2] - _cross_entropy(whole[1], whole[0])).abs() > 1e-4  # another loss than of the whole teacher
    evaluated = transfer.eval()(images, with_loss=True).layer_losses
    ours, theirs = (_map(*_qkv(m.eval(), 2, normalized)[:2]) for m in (transfer.student, teacher))
    torch.testing.assert_close(evaluated[2], _cross_entropy(ours, theirs), atol=1e-5, rtol=1e-5)


def test_shared_drop_path_and_gradient_checkpointing_exclude_each_other(make, images):
    with pytest.warns(UserWarning, match=r"teacher_drop_path=True has no effect, .* pass drop_path=0.1"):
        AttentionTransfer(make(), teacher_drop_path=True).train()(images)
    transfer = AttentionTransfer(make(), drop_path=0.5, teacher_drop_path=True).train()
    transfer.student.set_grad_checkpointing(True)
    with pytest.raises(ValueError, match="teacher_drop_path=True does not work with gradient checkpointing"):
        transfer(images)
    assert not [name for name, module in transfer.named_modules() if type(module).__name__ == "MaskedPath"]


@torch.no_grad()
@pytest.mark.parametrize(("width", "heads", "expected"), [(24, 2, 3), (48, 6, 6), (32, 4, 4)])
def test_relations_have_as_many_heads_as_both_widths_and_the_larger_model_allow(
    make, vit, images, width, heads, expected
):
    teacher, student = make(), vit(seed=1, embed_dim=width, num_heads=heads)  # the teacher: width 48, 3 heads
    ours, theirs = (
        AttentionTransfer(teacher, student, mode="relations", relation_heads=n)(images).transfer_loss
        for n in (None, expected)
    )
    assert ours > 0
    assert torch.equal(ours, theirs)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["copy", "copy_q", "copy_k", "copy_v"])
@pytest.mark.parametrize("heads", ["all", {0: 2, 2: 1}], ids=["all heads", "some heads"])
def test_a_copy_is_attention_with_the_teachers_part(make, images, mode, heads):
    teacher, student = make(), make(seed=1)
    plain = copy.deepcopy(student)  # what the student was before its projections went
    transfer = AttentionTransfer(teacher, student, mode=mode, layers=[0], heads=heads).eval()
    normalized = _images(transfer, images)
    ours, theirs = _qkv(plain, 0, normalized), _qkv(teacher, 0, normalized)
    chosen = {0: 0, 1: 1, 2: 2} if heads == "all" else heads
    parts = {"copy": "qk", "copy_q": "q", "copy_k": "k", "copy_v": "v"}[mode]
    by_head = []
    for head in range(3):
        q, k, v = (
            theirs[i][:, chosen[head]] if head in chosen and name in parts else ours[i][:, head]
            for i, name in enumerate("qkv")
        )
        by_head.append(_map(q, k) @ v)
    expected = plain.blocks[0].attn.proj(torch.cat(by_head, -1))
    found = []
    handle = student.blocks[0].attn.register_forward_hook(lambda m, a, output: found.append(output))
    output = transfer(images)
    handle.remove()
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-4)
    assert output.transfer_loss == 0
    assert not output.layer_losses.numel()


@pytest.mark.parametrize("mode", get_args(Mode))
def test_the_teacher_gets_no_gradient(make, images, mode):
    teacher = make().requires_grad_(True)
    transfer = AttentionTransfer(teacher, mode=mode, seed=1).train()
    output = transfer(images)
    (output.logits.sum() + output.transfer_loss).backward()
    assert any(parameter.grad is not None for parameter in transfer.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())


_TIMM = ["ViT", "DeiT3", "DINOv2 with registers", "DINOv2 SwiGLU", "CLIP", "SigLIP", "qk_norm", "BEiT", "EVA-02", "EVA"]
_TIMM += ["DINOv3", "relative positions", "DeiT distilled"]


@pytest.mark.parametrize("mode", ["copy", "copy_q", "copy_k", "copy_v"])
@pytest.mark.parametrize("name", _TIMM)
def test_a_student_with_copied_attention_contains_only_trained_weights(make, images, name, mode):
    transfer = AttentionTransfer(make(name), mode=mode, seed=1).train()
    transfer(images).logits.square().sum().backward()
    idle = [name for name, parameter in transfer.named_parameters() if parameter.grad is None]
    assert not idle
    full = AttentionTransfer(make(name), seed=1)
    width, depth = 48, 3
    gone = sum(p.numel() for p in full.parameters()) - sum(p.numel() for p in transfer.parameters())
    assert gone >= (2 if mode == "copy" else 1) * depth * width * width


def test_copied_students_of_transformers_have_no_queries_or_keys(make, images):
    transfer = AttentionTransfer(make("transformers ViT"), mode="copy", num_classes=5).train()
    transfer(images).logits.sum().backward()
    assert not [name for name, _ in transfer.named_parameters() if "q_proj" in name or "k_proj" in name]
