"""Every family: recorded maps equal the softmax, students of the same architecture, exports and checkpoints."""

import copy
import gc

import pytest
import torch
from timm.layers import apply_rot_embed_cat
from torch.nn import functional as F
from vl_attention import AttentionTransfer, Normalization, ViTLayout


def _inputs_of_attentions(model, run):
    """Positional and named arguments of every attention, caught by hooks of this test's own."""
    caught, handles = [], []
    for name in ViTLayout.of(model).attentions:
        module = model.get_submodule(name)
        handles.append(
            module.register_forward_pre_hook(
                lambda module, args, kwargs: caught.append((module, args, kwargs)), with_kwargs=True
            )
        )
    run()
    for handle in handles:
        handle.remove()
    return caught


def _map_by_hand(attention, args, kwargs):
    """softmax(Q K') from the weights of one attention, apart from any code of the library."""
    x = args[0] if args else kwargs["hidden_states"]
    heads = getattr(attention, "num_heads", None) or attention.num_attention_heads
    images, tokens, _ = x.shape
    if getattr(attention, "qkv", None) is not None:
        bias = attention.qkv.bias
        if getattr(attention, "q_bias", None) is not None:
            bias = torch.cat([attention.q_bias, torch.zeros_like(attention.q_bias), attention.v_bias])
        q, k, _ = F.linear(x, attention.qkv.weight, bias).chunk(3, dim=-1)
    else:
        q, k = attention.q_proj(x), attention.k_proj(x)
    q, k = (t.reshape(images, tokens, heads, -1).transpose(1, 2) for t in (q, k))
    if hasattr(attention, "q_norm"):
        q, k = attention.q_norm(q), attention.k_norm(k)
    rope = kwargs.get("rope")
    if rope is not None:
        first, half = attention.num_prefix_tokens, attention.rotate_half
        q, k = (torch.cat([t[:, :, :first], apply_rot_embed_cat(t[:, :, first:], rope, half=half)], 2) for t in (q, k))
    logits = torch.einsum("bhid,bhjd->bhij", q, k) / q.shape[-1] ** 0.5
    if getattr(attention, "relative_position_bias_table", None) is not None:
        entries = attention.relative_position_bias_table[attention.relative_position_index.flatten()]
        logits = logits + entries.reshape(tokens, tokens, heads).permute(2, 0, 1)
    if getattr(attention, "rel_pos", None) is not None:
        table, index = attention.rel_pos.relative_position_bias_table, attention.rel_pos.relative_position_index
        logits = logits + table[index.flatten()].reshape(tokens, tokens, heads).permute(2, 0, 1)
    shared = kwargs.get("shared_rel_pos_bias")
    if shared is not None:
        logits = logits + shared
    return logits.exp() / logits.exp().sum(-1, keepdim=True)


def _logits(model, normalized):
    output = model(normalized)
    return getattr(output, "logits", output)


@torch.no_grad()
def test_recorded_inputs_give_the_map_of_the_softmax(family, make, images):
    teacher = make(family)
    transfer = AttentionTransfer(teacher, layers="all", num_classes=5, seed=1)
    recorded = {}

    def run():
        normalized = transfer.teacher_normalization(images)
        recorded.update(transfer._teacher_recorder.run(lambda: teacher(normalized), range(3)).by_layer)

    inputs = _inputs_of_attentions(teacher, run)
    assert len(inputs) == len(recorded) == 3
    for layer, (module, args, kwargs) in enumerate(inputs):
        expected = _map_by_hand(module, args, kwargs)
        assert expected.std() > 1e-3  # no uniform map, which would agree with anything
        torch.testing.assert_close(recorded[layer].map(), expected, atol=1e-5, rtol=0)


def test_the_student_learns_and_the_teacher_is_left_alone(family, make, images):
    teacher = make(family)
    before = copy.deepcopy(teacher.state_dict())
    transfer = AttentionTransfer(teacher, layers="all", num_classes=5, seed=1)
    optimizer = torch.optim.SGD(transfer.parameters(), 0.01)
    output = transfer.train()(images)
    (output.logits.sum() + output.transfer_loss).backward()
    optimizer.step()
    assert output.logits.shape == (2, 5)
    assert output.layer_losses.shape == (3,)
    assert output.layer_losses.isfinite().all()
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert before.keys() == teacher.state_dict().keys()
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(name.startswith("student.") for name in transfer.state_dict())
    assert {name.removeprefix("student.") for name in transfer.state_dict()} == set(transfer.student.state_dict())
    owned = {id(parameter) for parameter in teacher.parameters()}
    assert not owned & {id(parameter) for parameter in transfer.parameters()}


@torch.no_grad()
def test_an_export_is_the_student_without_hooks_or_teacher(family, make, images):
    teacher = make(family)
    transfer = AttentionTransfer(teacher, num_classes=5, seed=1).eval()
    expected = transfer(images).logits
    normalized = transfer.student_normalization(images)
    kind = type(transfer.student)
    exported = transfer.export()
    assert torch.equal(transfer(images).logits, expected)  # the transfer goes on
    assert transfer.train()(images).transfer_loss > 0
    del transfer, teacher
    gc.collect()
    assert type(exported) is kind
    for module in exported.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    logits = _logits(exported.eval(), normalized)
    logits = torch.stack(logits).mean(0) if isinstance(logits, tuple) else logits
    assert torch.equal(logits, expected)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["distill", "copy"])
def test_a_checkpoint_of_every_family_gives_the_same(family, make, images, mode, tmp_path):
    teacher = make(family)
    transfer = AttentionTransfer(teacher, mode=mode, num_classes=5, seed=1)
    transfer.save_pretrained(tmp_path)
    loaded = AttentionTransfer.from_pretrained(tmp_path, teacher=teacher)
    _same(transfer, loaded, images)


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [
        {"layers": "last:2"},
        {"layers": {0: 2, 2: 0}},
        {"layers": [(0, 1)]},
        {"heads": [0, 2]},
        {"heads": {0: [1, 2], 2: 0}},
        {"mode": "copy", "heads": {0: 2}},
        {"mode": "copy", "layers": {1: 2}},
        {"mode": "copy_q"},
        {"mode": "copy_k"},
        {"mode": "copy_v"},
        {"mode": "output"},
        {"mode": "relations", "relation_heads": 4},
        {"teacher_normalization": Normalization((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))},
        {"student_normalization": Normalization((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))},
        {"drop_path": 0.2},
    ],
    ids=str,
)
def test_a_checkpoint_keeps_how_the_student_was_trained(make, images, options, tmp_path):
    teacher = make()
    transfer = AttentionTransfer(teacher, num_classes=4, seed=1, **options)
    transfer.save_pretrained(tmp_path)
    loaded = AttentionTransfer.from_pretrained(tmp_path, teacher=teacher)
    assert loaded.layers == transfer.layers
    assert loaded.teacher_normalization == transfer.teacher_normalization
    assert loaded.student_normalization == transfer.student_normalization
    if "drop_path" not in options:
        _same(transfer, loaded, images)


@torch.no_grad()
def test_a_checkpoint_of_a_given_student_is_read_into_another_like_it(make, vit, images, tmp_path):
    teacher = make()
    transfer = AttentionTransfer(teacher, vit(seed=3, embed_dim=24), layers={0: 1})
    transfer.save_pretrained(tmp_path)
    loaded = AttentionTransfer.from_pretrained(tmp_path, teacher=teacher, student=vit(seed=4, embed_dim=24))
    _same(transfer, loaded, images)


def _same(transfer, loaded, images):
    for training in (False, True):
        ours, theirs = transfer.train(training)(images), loaded.train(training)(images)
        assert torch.equal(ours.logits, theirs.logits)
        assert torch.equal(ours.layer_losses, theirs.layer_losses)
    if transfer.mode in ("distill", "output", "relations"):
        assert transfer.train()(images).transfer_loss > 0
