"""Models of open_clip and transformers as dual encoders: trained in place, with their own scale and bias."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import SiglipConfig, SiglipModel
from vl_vlm import DualEncoder, JointModel, train_dual_encoder, train_tokenizer

open_clip = pytest.importorskip("open_clip", reason="open_clip comes with the extra vl-vlm[openclip]")
VISION = {"image_size": 16, "patch_size": 8, "layers": 1, "width": 16, "head_width": 8}
TEXT = {"context_length": 24, "width": 16, "heads": 2, "layers": 1}
TOKENIZER = open_clip.SimpleTokenizer(context_length=24)


def clip():
    torch.manual_seed(0)
    return open_clip.CLIP(embed_dim=8, vision_cfg=VISION, text_cfg=TEXT)


def siglip():
    torch.manual_seed(0)
    own = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
    return open_clip.CustomTextCLIP(
        embed_dim=8, vision_cfg=VISION, text_cfg=TEXT | own, init_logit_scale=2.3, init_logit_bias=-10
    )


@pytest.mark.parametrize(("make", "loss"), [(clip, "info_nce"), (siglip, "sigmoid")])
def test_a_model_of_open_clip_is_trained_in_place(make, loss, small_training, tmp_path):
    network = make()
    model = DualEncoder.from_open_clip(network, TOKENIZER)
    assert (model.loss, model.image_size, model.context_length) == (loss, 16, 24)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    settings = replace(small_training.SETTINGS, updates=3, sub_batch=4)
    train_dual_encoder(model, small_training.SCENES, settings, tmp_path, progress=False)
    trained = model.to_open_clip().eval()
    assert trained is network
    changed = {name for name, value in trained.state_dict().items() if not torch.equal(value, before[name])}
    assert {"logit_scale"} | ({"logit_bias"} if loss == "sigmoid" else set()) <= changed
    again = make()
    again.load_state_dict(trained.state_dict())
    pixels = torch.rand(2, 3, 16, 16)
    normalized = model.normalization(pixels)
    tokens = model.tokenize(["a red circle"])
    torch.testing.assert_close(model.encode_image(pixels), again.eval().encode_image(normalized, normalize=True))
    torch.testing.assert_close(
        model.encode_text(**tokens), again.encode_text(TOKENIZER(["a red circle"]), normalize=True)
    )


def test_a_siglip_of_transformers_keeps_its_own_scale_and_bias(small_training, tmp_path):
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a red circle"], vocabulary_size=300, context_length=12)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = small | {"vocab_size": 300, "max_position_embeddings": 12, "projection_size": 16}
    network = SiglipModel(SiglipConfig(text_config=words, vision_config=small | {"image_size": 16, "patch_size": 8}))
    model = DualEncoder(JointModel(network), tokenizer)
    assert model.logit_scale is network.logit_scale
    assert model.loss == "sigmoid"
    start = network.logit_bias.item()
    settings = replace(small_training.SETTINGS, updates=2)
    train_dual_encoder(model, small_training.SCENES, settings, tmp_path / "run", progress=False)
    assert network.logit_bias.item() != start
    model.save_pretrained(tmp_path / "saved")
    loaded = DualEncoder.from_pretrained(tmp_path / "saved")
    assert loaded.logit_bias.item() == network.logit_bias.item()
    image = np.zeros((16, 16, 3), np.uint8)
    assert torch.equal(loaded.probabilities([image], ["a"]), model.probabilities([image], ["a"]))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: DualEncoder.from_open_clip(torch.nn.Linear(1, 1), TOKENIZER), TypeError, "model must have visual"),
        (lambda: DualEncoder.from_open_clip(clip(), str), TypeError, "tokenizer must have context_length"),
        (
            lambda: DualEncoder.from_open_clip(clip(), open_clip.SimpleTokenizer(context_length=77)),
            ValueError,
            "the tokenizer's is 77 tokens, the tower has 24 positions",
        ),
    ],
)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_only_a_model_of_open_clip_becomes_one_again(small_training):
    with pytest.raises(ValueError, match="only a model that from_open_clip made"):
        small_training.model().to_open_clip()
