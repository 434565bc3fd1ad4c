"""Small networks of every library that a tower may come from."""

import pytest
import timm
import torch
from transformers import BertConfig, BertModel, CLIPVisionConfig, CLIPVisionModel, SiglipTextConfig, SiglipTextModel
from vl_vlm import train_tokenizer

CAPTIONS = ["a red circle left of a blue square", "three green triangles", "a large yellow star", "a small gray cross"]


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(CAPTIONS, vocabulary_size=300, context_length=12)


@pytest.fixture
def vision():
    """Make a network of images by name."""

    def make(name):
        torch.manual_seed(0)
        if name == "timm ViT":
            return timm.create_model(
                "vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=5
            )
        if name == "timm ConvNet":
            return timm.create_model("test_convnext", num_classes=0, in_chans=1)
        config = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        return CLIPVisionModel(CLIPVisionConfig(**config, image_size=16, patch_size=8))

    return make


@pytest.fixture
def text(tokenizer):
    """Make a network of texts by name."""

    def make(name):
        torch.manual_seed(1)
        config = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        config |= {"hidden_size": 32} if name == "wide" else {}
        config |= {"vocab_size": len(tokenizer), "max_position_embeddings": 12}
        if name == "SigLIP":
            return SiglipTextModel(SiglipTextConfig(**config, pad_token_id=0, bos_token_id=2, eos_token_id=3))
        if name == "BERT without pooler":
            return BertModel(BertConfig(**config), add_pooling_layer=False)
        return BertModel(BertConfig(**config))

    return make
