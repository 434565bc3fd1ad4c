"""The losses of open_clip as oracles, on outputs of its models as they are."""

from __future__ import annotations

import pytest
import torch
from loss_problems import assert_same, make_problem
from vl_vlm import info_nce, sigmoid_loss

open_clip = pytest.importorskip("open_clip", reason="open_clip comes with the extra vl-vlm[openclip]")


@pytest.mark.parametrize("tile", [3, 512])
@pytest.mark.parametrize("scale", [1.0, 7.0, 100.0])
def test_info_nce_is_clip_loss(tile, scale):
    problem = make_problem(scale=scale)
    features = problem.images, problem.texts, problem.scale
    expected = open_clip.ClipLoss()(*features)
    assert_same(info_nce(*features, tile=tile), expected, problem.leaves(bias=False), 1e-10)


@pytest.mark.parametrize("tile", [3, 512])
@pytest.mark.parametrize("scale", [1.0, 7.0, 100.0])
def test_sigmoid_loss_is_siglip_loss(tile, scale):
    problem = make_problem(scale=scale)
    features = problem.images, problem.texts, problem.scale, problem.bias
    expected = open_clip.loss.SigLipLoss()(*features)
    assert_same(sigmoid_loss(*features, tile=tile), expected, problem.leaves(bias=True), 1e-10)


@pytest.mark.parametrize("bias", [None, -10.0])
def test_outputs_of_a_model_are_taken_as_they_are(bias):
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(
        embed_dim=8,
        vision_cfg={"image_size": 16, "patch_size": 8, "layers": 1, "width": 16, "head_width": 8},
        text_cfg={"context_length": 6, "vocab_size": 30, "width": 16, "heads": 2, "layers": 1},
        init_logit_bias=bias,
    ).double()
    outputs = model(torch.randn(7, 3, 16, 16).double(), torch.randint(1, 30, (7, 6)))
    loss, theirs = (info_nce, open_clip.ClipLoss()) if bias is None else (sigmoid_loss, open_clip.loss.SigLipLoss())
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    found, expected = loss(*outputs, tile=3), theirs(*outputs)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    gradients = (torch.autograd.grad(one, parameters, retain_graph=True) for one in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
