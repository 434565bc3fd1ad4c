"""Outputs of transformers' models as they are: the models' own losses are an independent oracle."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.distributed as dist
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
from vl_vlm import InfoNCELoss, SigmoidLoss, info_nce, sigmoid_loss

TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXT = TOWER | {"vocab_size": 20, "max_position_embeddings": 6, "eos_token_id": 19, "bos_token_id": 18}
VISION = TOWER | {"image_size": 8, "patch_size": 4}


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_losses_and_gradients_equal_those_of_transformers(kind):
    torch.manual_seed(0)
    config, model = (CLIPConfig, CLIPModel) if kind == "clip" else (SiglipConfig, SiglipModel)
    model = model(config(text_config=TEXT, vision_config=VISION, projection_dim=8)).double().eval()
    words = torch.randint(0, 18, (7, 6))
    words[:, -1] = 19
    outputs = model(input_ids=words, pixel_values=torch.randn(7, 3, 8, 8).double(), return_loss=True)
    features = outputs.image_embeds, outputs.text_embeds
    if kind == "clip":
        loss = info_nce(*features, model.logit_scale.exp(), tile=3)
    else:
        loss = sigmoid_loss(*features, model.logit_scale.exp(), model.logit_bias, tile=3)
    torch.testing.assert_close(loss, outputs.loss, rtol=0, atol=1e-10)
    parameters = [p for p in model.parameters() if p.requires_grad]
    found, expected = (torch.autograd.grad(x, parameters, retain_graph=True) for x in (loss, outputs.loss))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    assert any(gradient.abs().max() > 1e-3 for gradient in expected)


@pytest.mark.parametrize("module", [InfoNCELoss, SigmoidLoss])
def test_modules_in_a_group_can_be_copied(module, tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        loss = copy.deepcopy(module(group=dist.group.WORLD))
        assert loss.group is dist.group.WORLD
        assert loss(torch.eye(2), torch.eye(2)).isfinite()
    finally:
        dist.destroy_process_group()
