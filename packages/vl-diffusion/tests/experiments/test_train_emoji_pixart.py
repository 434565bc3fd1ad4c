"""The script that trains the text-conditional model, for a few steps, and the reference loop that evaluates it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import emoji_zero_shot
import pytest
import torch
import train_emoji_pixart
from diffusers import PixArtAlphaPipeline
from vl_core.noise import gaussian, make_keys
from vl_core.runs import Checkpoint, RunFolder

TINY = {"--steps": 4, "--batch": 4, "--width": 16, "--blocks": 1, "--text-width": 16, "--warm-up": 2}


def checkpoint(out: Path) -> Checkpoint:
    """The last checkpoint of a run."""
    found = RunFolder(out, json.loads((out / "config.json").read_text())).load_checkpoint()
    assert found is not None
    return found


def run(monkeypatch: pytest.MonkeyPatch, out: Path) -> None:
    options = TINY | {"--out": out, "--checkpoint-every": 2, "--validate-every": 4, "--validation-images": 2}
    arguments = [text for option in options.items() for text in map(str, option)]
    monkeypatch.setattr(sys, "argv", ["train_emoji_pixart.py", *arguments])
    train_emoji_pixart.main()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of four steps without an interruption."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as monkeypatch:
        run(monkeypatch, out)
    return out


@pytest.fixture(scope="module")
def pipeline(whole: Path) -> PixArtAlphaPipeline:
    return PixArtAlphaPipeline.from_pretrained(whole / "model", vae=None).to(torch.float32)


def test_a_resumed_run_ends_with_the_same_weights(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = train_emoji_pixart.batch_at

    def interrupt_at_the_last_step(step, *rest):
        if step == 3:
            raise KeyboardInterrupt
        return draw(step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(train_emoji_pixart, "batch_at", interrupt_at_the_last_step)
        with pytest.raises(KeyboardInterrupt):
            run(patch, tmp_path)
    assert checkpoint(tmp_path).step == 2
    run(monkeypatch, tmp_path)
    expected, resumed = (checkpoint(out).tensors for out in (whole, tmp_path))
    torch.testing.assert_close(resumed, expected, rtol=0, atol=0)
    for part in ("text_encoder/model.safetensors", "transformer/diffusion_pytorch_model.safetensors"):
        assert (tmp_path / "model" / part).read_bytes() == (whole / "model" / part).read_bytes()


def test_exported_pipeline_is_the_average_in_half_precision_without_an_autoencoder(
    whole: Path, pipeline: PixArtAlphaPipeline
) -> None:
    assert pipeline.vae is None
    assert pipeline.transformer.config.sample_size == 32
    assert pipeline.transformer.config.in_channels == pipeline.transformer.config.out_channels == 3
    assert not pipeline.transformer.config.use_additional_conditions
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.scheduler.config.beta_schedule == "squaredcos_cap_v2"
    average = checkpoint(whole).tensors
    for part in ("transformer", "text_encoder"):
        for name, value in getattr(pipeline, part).state_dict().items():
            torch.testing.assert_close(value.half(), average[f"ema.{part}.{name}"].half(), rtol=0, atol=0)


def test_prompts_keep_their_tokens_when_saved_and_loaded(pipeline: PixArtAlphaPipeline) -> None:
    emoji = train_emoji_pixart.open_style(*train_emoji_pixart.TRAINING_STYLES)
    built = train_emoji_pixart.build_tokenizer(emoji)
    prompts = [*emoji.labels[::40], "Hot dog", "zyx 7!", ""]
    before, after = (train_emoji_pixart.tokenize(tokenizer, prompts) for tokenizer in (built, pipeline.tokenizer))
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert pipeline.tokenizer.model_max_length == train_emoji_pixart.PROMPT_LENGTH


def test_the_pipeline_encodes_prompts_as_in_training(pipeline: PixArtAlphaPipeline) -> None:
    states, mask, _, _ = pipeline.encode_prompt(
        "Hot dog", do_classifier_free_guidance=False, device="cpu", max_sequence_length=train_emoji_pixart.PROMPT_LENGTH
    )
    tokens, ours = train_emoji_pixart.tokenize(pipeline.tokenizer, ["hot dog"])
    expected = pipeline.text_encoder(input_ids=tokens, attention_mask=ours).last_hidden_state
    assert mask.sum() == ours.sum() == 3
    torch.testing.assert_close(states[:, :3], expected)


def test_an_untrained_network_predicts_zero_and_a_trained_one_depends_on_its_prompt(
    pipeline: PixArtAlphaPipeline,
) -> None:
    untrained = train_emoji_pixart.TextDenoiser(30, width=16, blocks=1, text_width=16)
    x_t, timestep = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([500, 500])
    tokens, mask = torch.tensor([[4, 5, 1], [6, 1, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    with torch.no_grad():
        assert bool((untrained(x_t, timestep, tokens, mask) == 0).all())
        errors = emoji_zero_shot.denoising_errors(
            pipeline, x_t[:1], [["hot dog", "red apple"]], torch.tensor([400, 600])
        )
    assert errors.shape == (1, 2, 2)
    assert bool((errors[..., 0] != errors[..., 1]).all())


def test_errors_follow_the_definition_for_any_set_of_candidates(pipeline: PixArtAlphaPipeline) -> None:
    image = train_emoji_pixart.held_out(settings=True)[0][:2]
    timesteps, choices = torch.tensor([300, 700]), [["hot dog", "face with crossed-out eyes"], ["cat", "hot dog"]]
    errors = emoji_zero_shot.denoising_errors(pipeline, image, choices, timesteps, seed=5)
    unscaled = emoji_zero_shot.denoising_errors(pipeline, image, choices, timesteps, space="velocity", seed=5)
    alphas = pipeline.scheduler.alphas_cumprod[timesteps]
    torch.testing.assert_close(unscaled * alphas[:, None], errors, rtol=1e-4, atol=1e-6)
    level = pipeline.scheduler.alphas_cumprod
    for number, row in enumerate(choices):
        for draw, timestep in enumerate(timesteps):
            noise = gaussian(make_keys(5, number, draw)[None], (3, 32, 32))[0]
            alpha, sigma = level[timestep].sqrt(), (1 - level[timestep]).sqrt()
            x_t = (alpha * image[number] + sigma * noise)[None]
            for candidate, name in enumerate(row):
                tokens, mask = train_emoji_pixart.tokenize(pipeline.tokenizer, [name])
                with torch.no_grad():
                    states = pipeline.text_encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
                    velocity = pipeline.transformer(
                        x_t, encoder_hidden_states=states, encoder_attention_mask=mask, timestep=timestep[None]
                    ).sample
                expected = (alpha * velocity[0] + sigma * x_t[0] - noise).square().mean()
                torch.testing.assert_close(errors[number, draw, candidate], expected, rtol=2e-4, atol=1e-5)


def test_the_name_of_smallest_mean_error_is_predicted() -> None:
    errors = torch.tensor([[[1.0, 3.0], [2.0, 1.0]], [[0.5, 0.4], [0.3, 0.2]]])
    assert emoji_zero_shot.named(errors, [["a", "b"], ["c", "d"]]) == ["a", "d"]


def test_each_batch_depends_on_the_seed_and_the_step_alone() -> None:
    emoji = train_emoji_pixart.open_style("noto")
    tokenizer = train_emoji_pixart.build_tokenizer(emoji)
    args = train_emoji_pixart.argparse.Namespace(
        seed=0, batch=8, null_share=0.3, tag_share=0.3, augmentation=1.0, focus_share=0.5, focus=(250, 950)
    )
    first, again, later = (
        train_emoji_pixart.batch_at(step, torch.arange(8), emoji, tokenizer, args) for step in (5, 5, 6)
    )
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first[2], later[2])
    assert first[3].shape == first[4].shape == (8, train_emoji_pixart.PROMPT_LENGTH)
    args.null_share = 1.0
    assert train_emoji_pixart.batch_at(5, torch.arange(8), emoji, tokenizer, args)[4].sum(1).tolist() == [1] * 8


def test_time_steps_cover_the_schedule_and_a_share_of_them_its_focus() -> None:
    steps = train_emoji_pixart.timesteps_at((torch.arange(1000) + 0.5) / 1000, 0.6, 500, 900)
    assert int(steps.min()) < 5
    assert int(steps.max()) > 990
    assert int(((steps >= 500) & (steps < 900)).sum()) == pytest.approx(600 + 0.4 * 400, abs=3)
    assert train_emoji_pixart.timesteps_at(torch.tensor([0.0, 0.25, 0.999]), 0.0, 1, 2).tolist() == [0, 250, 999]
