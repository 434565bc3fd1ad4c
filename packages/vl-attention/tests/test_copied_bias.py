"""Copied attention includes the teacher's relative position biases and scale, compared with explicit attention."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from vl_attention import AttentionTransfer
from vl_attention.attention.inputs import AttentionInputs
from vl_attention.transfer.copied_attention import CopiedAttention


def _parts(model, images):
    """Queries, keys, values ``(B, H, N, d)`` and biases ``(H, N, N)`` of the first layer of timm's Beit."""
    block = model.blocks[0]
    x = block.norm1(torch.cat([model.cls_token.expand(len(images), -1, -1), model.patch_embed(images)], 1))
    attention = block.attn
    bias = torch.cat([attention.q_bias, torch.zeros_like(attention.q_bias), attention.v_bias])
    q, k, v = F.linear(x, attention.qkv.weight, bias).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    tokens = x.shape[1]
    entries = attention.relative_position_bias_table[attention.relative_position_index.flatten()]
    return q, k, v, entries.reshape(tokens, tokens, -1).permute(2, 0, 1)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["copy", "copy_q", "copy_v"])
@pytest.mark.parametrize("heads", ["all", {0: 1, 1: 0}, {0: 1, 1: 2, 2: 0}], ids=str)
def test_biases_are_the_teachers_where_the_map_is(make, images, mode, heads):
    teacher, student = make("BEiT"), make("BEiT", seed=1)
    plain = copy.deepcopy(student)  # what the student was before its projections went
    transfer = AttentionTransfer(teacher, student, mode=mode, layers=[0], heads=heads).eval()
    normalized = transfer.teacher_normalization(images)
    ours, theirs = _parts(plain, normalized), _parts(teacher, normalized)
    assert not torch.allclose(ours[3], theirs[3], atol=0.05)
    chosen = {head: head for head in range(3)} if heads == "all" else heads
    taken = {"copy": (0, 1, 3), "copy_q": (0,), "copy_v": (2,)}[mode]
    by_head = []
    for head in range(3):
        taught = taken if head in chosen else ()
        q, k, v = (theirs[i][:, chosen[head]] if i in taught else ours[i][:, head] for i in range(3))
        bias = theirs[3][chosen[head]] if 3 in taught else ours[3][head]
        by_head.append((q @ k.mT / q.shape[-1] ** 0.5 + bias).softmax(-1) @ v)
    expected = plain.blocks[0].attn.proj(torch.cat(by_head, -1))
    found = []
    student.blocks[0].attn.register_forward_hook(lambda module, args, output: found.append(output))
    transfer(images)
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-4)


class _Scaled(nn.Module):
    """Attention of two heads at a scale that is not the usual."""

    num_heads = 2
    scale = 0.25

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def parts(self, x):
        return self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)

    def forward(self, x):
        return F.scaled_dot_product_attention(*self.parts(x), scale=self.scale).transpose(1, 2).flatten(2)


@torch.no_grad()
@pytest.mark.parametrize("heads", [None, [1, 0], [1, None], [None, 0]], ids=str)
def test_maps_are_copied_at_the_teachers_scale(heads):
    generator = torch.Generator().manual_seed(0)
    own = _Scaled()
    for parameter in own.parameters():
        parameter.normal_(generator=generator)
    q, k, v = torch.randn(3, 1, 2, 5, 4, generator=generator)
    x = torch.randn(1, 5, 8, generator=generator)
    mine = own.parts(x)
    copied = CopiedAttention(copy.deepcopy(own), "qk", heads)
    copied.teacher_inputs = AttentionInputs(q, k, v, None, 1.5)
    expected = []
    for head, taught in enumerate([0, 1] if heads is None else heads):
        own_logits = 0.25 * mine[0][:, head] @ mine[1][:, head].mT
        logits = own_logits if taught is None else 1.5 * q[:, taught] @ k[:, taught].mT
        expected.append(logits.softmax(-1) @ mine[2][:, head])
    torch.testing.assert_close(copied(x), torch.cat(expected, -1), atol=1e-5, rtol=1e-5)
