"""Dual encoders of every kind of tower: features, folders, locked networks, and what is refused."""

import numpy as np
import pytest
import timm
import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel, RobertaConfig, RobertaModel, SiglipConfig, SiglipModel
from vl_core.data import Normalization
from vl_vlm import DualEncoder, JointModel, RetrievalTask, Towers, evaluate, small_dual_encoder

CAPTIONS = ["a red circle left of a blue square", "three green triangles", "a large yellow star", "a small gray cross"]
IMAGES = [np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8) for seed in range(4)]
PAIRS = [
    ("timm ViT", "BERT"),
    ("timm ViT", "BERT without pooler"),
    ("CLIP", "SigLIP"),
    ("timm ConvNet", "BERT"),
]


@pytest.fixture
def make(vision, text, tokenizer):
    def model(images="timm ViT", texts="BERT", dim=8, **options):
        size = {"image_size": 32} if images == "timm ConvNet" else {}
        return DualEncoder(Towers(vision(images), text(texts), dim=dim), tokenizer, **(size | options)).eval()

    return model


def joint(kind, tokenizer):
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = small | {"vocab_size": len(tokenizer), "max_position_embeddings": 12, "pad_token_id": 0, "bos_token_id": 2}
    words |= {"eos_token_id": 3, "projection_size": 16}
    views = small | {"image_size": 16, "patch_size": 8}
    if kind == "CLIP":
        return CLIPModel(CLIPConfig(text_config=words, vision_config=views, projection_dim=16))
    return SiglipModel(SiglipConfig(text_config=words, vision_config=views))


@pytest.mark.parametrize(("images", "texts"), PAIRS)
def test_features_have_unit_length_and_gradients_reach_both_towers(make, images, texts):
    model = make(images, texts)
    pixels = torch.rand(3, model.channels, model.image_size, model.image_size)
    found = model(pixels, **model.tokenize(CAPTIONS))
    assert found.images.shape == (3, 8)
    assert found.texts.shape == (4, 8)
    for features in found:
        torch.testing.assert_close(features.norm(dim=1), torch.ones(len(features)))
    (found.images @ found.texts.T).square().sum().backward()
    for projection in (model.towers.image_projection, model.towers.text_projection):
        assert projection.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("images", "texts"), PAIRS)
@pytest.mark.parametrize("loss", ["info_nce", "sigmoid"])
def test_a_saved_model_is_the_same_model(make, tmp_path, images, texts, loss):
    model = make(images, texts, loss=loss)
    with torch.no_grad():
        model.logit_scale.fill_(1.25)
    model.save_pretrained(tmp_path)
    loaded = DualEncoder.from_pretrained(tmp_path)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert torch.equal(loaded.similarity(IMAGES, CAPTIONS), model.similarity(IMAGES, CAPTIONS))
    assert (loaded.loss, loaded.normalization) == (loss, model.normalization)
    text = type(model.towers.text.network).from_pretrained(tmp_path / "text")
    assert text.config.vocab_size == len(model.tokenizer)
    if images != "CLIP":
        assert timm.create_model(f"local-dir:{tmp_path / 'vision'}", pretrained=True).num_classes in (0, 5)


@pytest.mark.parametrize("kind", ["CLIP", "SigLIP"])
def test_models_of_transformers_are_dual_encoders(kind, tokenizer, tmp_path):
    network = joint(kind, tokenizer).eval()
    model = DualEncoder(JointModel(network), tokenizer).eval()
    pixels = torch.rand(2, 3, 16, 16)
    expected = network(pixel_values=model.normalization(pixels), **model.tokenize(CAPTIONS))
    torch.testing.assert_close(model.encode_image(pixels), expected.image_embeds)
    torch.testing.assert_close(model.encode_text(**model.tokenize(CAPTIONS)), expected.text_embeds)
    assert model.tokenize(["a"])["input_ids"].shape[1] == (12 if kind == "SigLIP" else 3)
    model.save_pretrained(tmp_path)
    loaded = DualEncoder.from_pretrained(tmp_path)
    assert torch.equal(loaded.similarity(IMAGES, CAPTIONS), model.similarity(IMAGES, CAPTIONS))
    model.lock_image()
    assert not any(parameter.requires_grad for parameter in network.vision_model.parameters())


def test_half_precision_in_files_is_float32_when_loaded(make, tmp_path):
    model = make()
    model.save_pretrained(tmp_path, dtype=torch.float16)
    loaded = DualEncoder.from_pretrained(tmp_path)
    assert {value.dtype for value in loaded.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert {value.dtype for value in model.state_dict().values() if value.is_floating_point()} == {torch.float32}
    torch.testing.assert_close(
        loaded.similarity(IMAGES, CAPTIONS), model.similarity(IMAGES, CAPTIONS), rtol=0, atol=5e-3
    )


def test_locked_networks_of_images_stay_in_evaluation_mode(make, tmp_path):
    model = make()
    model.lock_image()
    model.train()
    assert not model.towers.vision.network.training
    assert not any(parameter.requires_grad for parameter in model.towers.vision.parameters())
    assert model.towers.image_projection.weight.requires_grad
    assert model.towers.text.network.training
    model.save_pretrained(tmp_path)
    assert DualEncoder.from_pretrained(tmp_path).image_locked


def test_models_in_half_precision_encode(make):
    model = make()
    expected = model.similarity(IMAGES, CAPTIONS)
    torch.testing.assert_close(model.bfloat16().similarity(IMAGES, CAPTIONS), expected, rtol=0, atol=0.05)


def test_positions_of_roberta_begin_behind_its_padding():
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 300}
    config = RobertaConfig(**small, max_position_embeddings=34, pad_token_id=1)
    assert Towers(nn.Linear(1, 1), RobertaModel(config)).positions == 32


def test_probabilities_are_of_texts_or_of_pairs(make):
    model = make()
    cosines = model.similarity(IMAGES, CAPTIONS)
    found = model.probabilities(IMAGES, CAPTIONS)
    torch.testing.assert_close(found, (cosines / 0.07).softmax(1))
    pairs = make(loss="sigmoid")
    torch.testing.assert_close(pairs.probabilities(IMAGES, CAPTIONS), (cosines * 10 - 10).sigmoid())


def test_a_model_is_evaluated_as_it_is_and_keeps_its_mode(make):
    model = make().train()
    result = evaluate(model, RetrievalTask(IMAGES, [[caption] for caption in CAPTIONS]), progress=False)
    assert {row.model for row in result.rows} > {"model"}
    assert model.training
    torch.testing.assert_close(model.encode_images(IMAGES, batch_size=3), model.encode_images(IMAGES))


def test_networks_of_ones_own_work_and_cannot_be_saved(tokenizer, tmp_path):
    vision = nn.Sequential(nn.Flatten(), nn.LazyLinear(6))
    vision(torch.zeros(1, 3, 16, 16))
    words = nn.EmbeddingBag(len(tokenizer), 6)

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = words

        def forward(self, input_ids, attention_mask):
            return self.words(input_ids)

    half = Normalization((0.5,) * 3, (0.5,) * 3)
    model = DualEncoder(Towers(vision, Bag(), dim=None), tokenizer, image_size=16, normalization=half)
    assert model.similarity(IMAGES, CAPTIONS).shape == (4, 4)
    with pytest.raises(
        ValueError, match="vision must be a network of timm or transformers to be saved, got Sequential"
    ):
        model.save_pretrained(tmp_path)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers for it
def test_adapters_of_peft_are_trained_alone_and_merged_to_be_saved(make, text, tokenizer, tmp_path):
    peft = pytest.importorskip("peft", reason="peft comes with the extra vl-vlm[lora]")
    network = peft.get_peft_model(text("BERT"), peft.LoraConfig(r=2, target_modules=["query", "value"]))
    model = DualEncoder(Towers(make().towers.vision.network, network, dim=8), tokenizer)
    model.lock_image()
    (model.encode_text(**model.tokenize(CAPTIONS)) @ torch.rand(8)).sum().backward()
    trained = {name for name, value in model.towers.text.named_parameters() if value.grad is not None}
    assert trained
    assert all("lora" in name for name in trained)
    with pytest.raises(ValueError, match="text must be a network without adapters to be saved"):
        model.save_pretrained(tmp_path)
    before = model.eval().similarity(IMAGES, CAPTIONS)
    model.towers.text.network = network.merge_and_unload()
    model.save_pretrained(tmp_path)
    loaded = DualEncoder.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.similarity(IMAGES, CAPTIONS), before, rtol=0, atol=1e-5)


def test_a_small_model_needs_captions_alone():
    torch.manual_seed(0)
    model = small_dual_encoder(CAPTIONS, image_size=16, width=32, depth=1, text_depth=1, dim=16)
    assert model.similarity(IMAGES, CAPTIONS).shape == (4, 4)
    for options, message in (
        ({"width": 40}, "width must be a multiple of 32"),
        ({"patch_size": 5}, "image_size must be"),
    ):
        with pytest.raises(ValueError, match=message):
            small_dual_encoder(CAPTIONS, **options)


def broken_folder(model, folder, name, content):
    model.save_pretrained(folder)
    (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda make, path: make(loss="hinge"), ValueError, "loss must be 'info_nce' or 'sigmoid', got 'hinge'"),
        (lambda make, path: make(dim=0), ValueError, "dim must be at least 1"),
        (lambda make, path: make("CLIP", dim=None, texts="wide"), ValueError, "networks of different width, 16 and 32"),
        (lambda make, path: make(context_length=13), ValueError, "context_length must be at most 12"),
        (lambda make, path: DualEncoder(nn.Linear(1, 1), None), TypeError, "towers must be Towers or a JointModel"),
        (lambda make, path: Towers("vit", nn.Linear(1, 1)), TypeError, "vision must be a module, got str"),
        (lambda make, path: JointModel(nn.Linear(1, 1)), TypeError, "model must have encode_image and encode_text"),
        (lambda make, path: make().encode_texts("a cat"), TypeError, "texts must be a sequence of texts"),
        (lambda make, path: make().encode_images([]), ValueError, "must hold at least one"),
        (lambda make, path: make().encode_images(IMAGES[0]), TypeError, "images must be a sequence of images"),
        (lambda make, path: make().encode_images(IMAGES, batch_size=0), ValueError, "batch_size must be at least 1"),
        (lambda make, path: make().encode_texts(["a", 3]), TypeError, "texts must be texts, got int at place 1"),
        (lambda make, path: make().encode_images([np.full((4, 4, 3), 300.0)]), ValueError, "image 0: "),
        (lambda make, path: DualEncoder.from_pretrained(path / "no"), FileNotFoundError, "no model"),
        (lambda make, path: DualEncoder.from_pretrained(path), ValueError, "config.json is missing"),
        (
            lambda make, path: DualEncoder.from_pretrained(broken_folder(make(), path, "config.json", b"{}")),
            ValueError,
            "is that of another model",
        ),
        (
            lambda make, path: DualEncoder.from_pretrained(broken_folder(make(), path, "model.safetensors", b"1")),
            ValueError,
            "holds no dual encoder that can be loaded",
        ),
        (
            lambda make, path: DualEncoder.from_pretrained(broken_folder(make(), path, "text/config.json", b"{}")),
            ValueError,
            "holds no dual encoder that can be loaded",
        ),
    ],
)
def test_refused(make, tmp_path, action, error, message):
    with pytest.raises(error, match=message) as caught:
        action(make, tmp_path)
    assert "\n" not in str(caught.value) or message is None
