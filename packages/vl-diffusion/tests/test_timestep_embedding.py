"""The published DiT, written out by hand from the paper, and converted weights in diffusers' class."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DiTTransformer2DModel
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from vl_diffusion import DiffusionClassifier, Exhaustive
from vl_diffusion.cli import main
from vl_diffusion.models.families.timestep_embedding import choose, published
from vl_diffusion.models.folders import BUILT_IN
from vl_diffusion.models.loading import as_denoiser, load_denoiser

TIMES = (1, 100, 500, 990)


def converted(seed: int = 0, **settings) -> DiTTransformer2DModel:
    """A DiT whose blocks share their embedding of time and class, as conversion leaves it, with lively modulations."""
    sizes = {"sample_size": 8, "num_layers": 2, "patch_size": 2, "attention_head_dim": 8, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DiTTransformer2DModel(in_channels=1, out_channels=1, num_embeds_ada_norm=5, **(sizes | settings)).eval()
        for value in model.parameters():
            # As after training: with the initial values, time hardly changes the output.
            torch.nn.init.normal_(value, std=0.3)
    first, *others = model.transformer_blocks
    for block in others:
        block.norm1.emb.load_state_dict(first.norm1.emb.state_dict())
    return model


def plain_dit(weights: dict[str, Tensor], x: Tensor, time: Tensor, label: Tensor) -> Tensor:
    """DiT with adaLN-Zero: Peebles & Xie (2023), section 3.2, for 2 heads and patches of 2x2, in float64.

    Layer norms have no weights and an epsilon of 1e-6. Each block adds attention and a perceptron, both modulated and
    gated by the embedding of time and class; positions have the sines and cosines of their column and their row.
    """
    weights = {name: value.double() for name, value in weights.items()}

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(value: Tensor) -> Tensor:
        centered = value - value.mean(-1, keepdim=True)
        return centered / (centered.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    def modulate(value: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return norm(value) * (1 + scale[:, None]) + shift[:, None]

    rows = torch.stack([patch_rows(image) for image in x.double()])
    kernel = weights["pos_embed.proj.weight"].flatten(1)
    tokens = rows @ kernel.T + weights["pos_embed.proj.bias"] + positions(x.shape[-1] // 2, kernel.shape[0])
    emb = "transformer_blocks.0.norm1.emb"
    angles = time.double()[:, None] * torch.tensor([10000 ** (-i / 128) for i in range(128)], dtype=torch.float64)
    waves = torch.cat([angles.cos(), angles.sin()], 1)
    condition = linear(f"{emb}.timestep_embedder.linear_2", F.silu(linear(f"{emb}.timestep_embedder.linear_1", waves)))
    condition = F.silu(condition + weights[f"{emb}.class_embedder.embedding_table.weight"][label])
    for i in range(2):
        block = f"transformer_blocks.{i}"
        shift, scale, gate, shift_2, scale_2, gate_2 = linear(f"{block}.norm1.linear", condition).chunk(6, 1)
        value = modulate(tokens, shift, scale)
        heads = [linear(f"{block}.attn1.to_{part}", value).unflatten(-1, (2, -1)).transpose(1, 2) for part in "qkv"]
        attention = (heads[0] @ heads[1].mT / math.sqrt(heads[0].shape[-1])).softmax(-1) @ heads[2]
        tokens = tokens + gate[:, None] * linear(f"{block}.attn1.to_out.0", attention.transpose(1, 2).flatten(2))
        hidden = F.gelu(linear(f"{block}.ff.net.0.proj", modulate(tokens, shift_2, scale_2)), approximate="tanh")
        tokens = tokens + gate_2[:, None] * linear(f"{block}.ff.net.2", hidden)
    out = linear("proj_out_2", modulate(tokens, *linear("proj_out_1", condition).chunk(2, 1)))
    side = x.shape[-1] // 2
    return out.view(-1, side, side, 2, 2).permute(0, 1, 3, 2, 4).reshape(-1, 1, 2 * side, 2 * side)


def patch_rows(image: Tensor) -> Tensor:
    """Blocks of 2x2 pixels of one channel, a row each."""
    return torch.stack([block.flatten() for row in image[0].split(2) for block in row.split(2, 1)])


def positions(side: int, width: int) -> Tensor:
    """Half of the channels for the column and half for the row: sines, then cosines."""
    rates = torch.tensor([10000 ** (-4 * i / width) for i in range(width // 4)], dtype=torch.float64)
    waves = [torch.cat([(place * rates).sin(), (place * rates).cos()]) for place in range(side)]
    return torch.stack([torch.cat([waves[column], waves[row]]) for row in range(side) for column in range(side)])


def inputs(size: int = 8) -> tuple[Tensor, Tensor]:
    x = torch.randn(4, 1, size, size, generator=torch.Generator().manual_seed(1))
    return x, torch.tensor([0, 1, 4, 2])


def distances(output: Tensor, expected: Tensor) -> list[float]:
    """Largest difference of each row, as a share of the largest value expected."""
    return ((output - expected).abs().amax((1, 2, 3)) / expected.abs().amax((1, 2, 3))).tolist()


@torch.no_grad()
def test_converted_weights_are_evaluated_as_the_published_network():
    model, (x, labels), time = converted(), inputs(), torch.tensor(TIMES)
    expected = plain_dit(model.state_dict(), x, time, labels)
    before = model(x, timestep=time, class_labels=labels).sample
    denoiser = as_denoiser(model, scheduler=DDPMScheduler())
    assert denoiser.timestep_embedding == "published"
    # diffusers rounds the angles to float32, to 1e-4 at the last steps.
    assert max(distances(denoiser.predict(x, time, labels), expected)) < 1e-4
    # With the same weights, its class computes something else, less so at the first step.
    away = distances(before, expected)
    assert all(value > 0.05 for value in away[1:])
    assert away[0] < min(away[1:])
    # The object that was passed is not changed, and shares its weights.
    assert torch.equal(model(x, timestep=time, class_labels=labels).sample, before)
    told = as_denoiser(model, scheduler=DDPMScheduler(), timestep_embedding="diffusers")
    assert torch.equal(told.predict(x, time, labels), before)
    model.proj_out_2.bias.add_(1)
    assert max(distances(denoiser.predict(x, time, labels), expected + 1)) < 1e-4


@torch.no_grad()
def test_the_second_norms_have_the_published_epsilon():
    # With small activations the epsilon counts: 1e-5 of diffusers' default instead of 1e-6.
    model, (x, labels), time = converted(), inputs(), torch.tensor(TIMES)
    assert model.transformer_blocks[0].norm3.eps == 1e-5
    for part in (model.pos_embed.proj, *(block.attn1.to_out[0] for block in model.transformer_blocks)):
        part.weight.mul_(1e-3)
        part.bias.mul_(1e-3)
    model.pos_embed.pos_embed.mul_(0)
    network = published(model)
    waves = [block.norm1.emb.time_proj(time) for block in network.transformer_blocks]
    by_hand = time[:, None] * torch.tensor([10000 ** (-i / 128) for i in range(128)])
    for wave in waves:
        torch.testing.assert_close(wave, torch.cat([by_hand.cos(), by_hand.sin()], 1), rtol=0, atol=2e-4)
    of_published = network(x, timestep=time, class_labels=labels).sample
    for block in network.transformer_blocks:
        block.norm3.eps = 1e-5
    assert (network(x, timestep=time, class_labels=labels).sample - of_published).abs().max() > 1e-3


def test_the_choice_is_by_the_weights():
    assert choose(converted(), "auto") == "published"
    assert choose(converted().to(torch.float8_e4m3fn), "auto") == "published"
    assert choose(converted().half(), "auto") == "published"
    trained = converted()
    with torch.no_grad():
        trained.transformer_blocks[1].norm1.emb.timestep_embedder.linear_1.bias[3] += 1e-3
    assert choose(trained, "auto") == "diffusers"
    assert choose(trained, "published") == "published"
    # One block has nothing to compare with.
    assert choose(converted(num_layers=1), "auto") == "diffusers"


def test_the_published_sizes_with_embeddings_of_their_own_are_ambiguous():
    model = converted()
    with torch.no_grad():
        model.transformer_blocks[1].norm1.emb.class_embedder.embedding_table.weight[0] += 1
    xl = {"num_layers": 28, "num_attention_heads": 16, "attention_head_dim": 72, "in_channels": 4, "out_channels": 8}
    model.register_to_config(**xl)
    with pytest.warns(UserWarning, match=r"sizes of the published DiT-XL/2, .* is evaluated as diffusers does; pass"):
        assert choose(model, "auto") == "diffusers"


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "emoji"])
def test_shipped_models_stay_with_diffusers(name):
    denoiser = load_denoiser(name)
    assert denoiser.timestep_embedding == "diffusers"
    assert {block.norm1.emb.time_proj.downscale_freq_shift for block in denoiser.network.transformer_blocks} == {1}


def test_other_networks_and_names_are_refused(tiny, sd_folder):
    for model in (tiny.pixel_unet(), tiny.stable_diffusion()):
        scheduler = None if hasattr(model, "unet") else DDPMScheduler()
        with pytest.raises(ValueError, match=r"timestep_embedding must be 'auto' for a UNet2D.*only a DiT has another"):
            as_denoiser(model, scheduler=scheduler, timestep_embedding="published")
    with pytest.raises(ValueError, match=r"timestep_embedding must be 'auto' for a UNet2DConditionModel"):
        load_denoiser(sd_folder, timestep_embedding="published")
    with pytest.raises(ValueError, match="timestep_embedding must be one of auto, published, diffusers, got 'paper'"):
        load_denoiser("nobody/no-such-model", timestep_embedding="paper")
    denoiser = as_denoiser(tiny.pixel_dit(), scheduler=DDPMScheduler())
    assert as_denoiser(denoiser, timestep_embedding="diffusers") is denoiser
    with pytest.raises(
        ValueError, match="timestep_embedding must be 'auto' for a ClassConditionalDenoiser, which is bu"
    ):
        as_denoiser(denoiser, timestep_embedding="published")


@pytest.mark.parametrize("folder", ["pixel_dit_folder", "dit_folder"])
def test_results_say_which_was_used(folder, request, tmp_path):
    folder = shutil.copytree(request.getfixturevalue(folder), tmp_path / "model")
    channels, size = (1, 28) if (folder / "config.json").is_file() else (3, 32)
    image = torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(2))
    results = {
        name: DiffusionClassifier.from_pretrained(folder, search=Exhaustive(2), timestep_embedding=name).classify(image)
        for name in ("auto", "published", "diffusers")
    }
    used = {name: result.timestep_embedding for name, result in results.items()}
    assert used == {"auto": "diffusers", "published": "published", "diffusers": "diffusers"}
    np.testing.assert_array_equal(results["auto"].errors, results["diffusers"].errors)
    assert not np.allclose(results["published"].errors, results["diffusers"].errors)


def test_a_converted_model_is_recognized_in_its_folder(tmp_path):
    model = converted()
    model.save_pretrained(tmp_path)
    DDPMScheduler().save_pretrained(tmp_path)
    (tmp_path / "classes.json").write_text(json.dumps([f"class {i}" for i in range(5)]))
    classifier = DiffusionClassifier.from_pretrained(tmp_path, search=Exhaustive(2))
    assert classifier.timestep_embedding == "published"
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    of_object = DiffusionClassifier(model, classifier.classes, scheduler=DDPMScheduler(), search=Exhaustive(2))
    np.testing.assert_array_equal(of_object.classify(image).errors, classifier.classify(image).errors)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_a_pipeline_described_as_on_the_hub_is_recognized(variant, tiny, tmp_path):
    # Published before the class had its own name, and without an epsilon.
    pipeline = tiny.dit_pipeline()
    first, second = (block.norm1.emb for block in pipeline.transformer.transformer_blocks)
    second.load_state_dict(first.state_dict())
    pipeline.save_pretrained(tmp_path, variant=variant)
    for file, old, new in (("model_index.json", "DiTT", "T"), ("transformer/config.json", "DiTT", "T")):
        text = (tmp_path / file).read_text().replace(f"{old}ransformer2DModel", f"{new}ransformer2DModel")
        (tmp_path / file).write_text(json.dumps({k: v for k, v in json.loads(text).items() if k != "norm_eps"}))
    denoiser = load_denoiser(tmp_path, variant=variant)
    assert denoiser.timestep_embedding == "published"
    assert {block.norm3.eps for block in denoiser.network.transformer_blocks} == {1e-6}


def test_a_folder_of_results_is_of_one_time_embedding(tmp_path, capsys):
    converted().save_pretrained(tmp_path / "model")
    DDPMScheduler().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "classes.json").write_text(json.dumps([f"class {i}" for i in range(5)]))
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    arguments = ["classify", str(tmp_path / "black.png"), "--model", str(tmp_path / "model"), "--search", "exhaustive"]
    arguments += ["--draws", "2", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "the DiT was evaluated as the published network" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "config.json").read_text())["timestep_embedding"] == "published"
    # What was chosen by the weights and what is told are the same.
    assert main([*arguments, "--timestep-embedding", "published"]) == 0
    assert main([*arguments, "--timestep-embedding", "diffusers"]) == 2
    assert "timestep_embedding ('published' in the folder, now 'diffusers')" in capsys.readouterr().err
