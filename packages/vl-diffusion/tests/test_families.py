"""Every family: classified by hand and by the package, saved and loaded, in each space and precision."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from vl_diffusion import DiffusionClassifier, Exhaustive, FluxDenoiser, Staged
from vl_diffusion.models.denoiser import unconditional
from vl_diffusion.models.families.flux import pack, unpack
from vl_diffusion.models.images import content_id
from vl_diffusion.models.loading import as_denoiser, load_denoiser

PETS = ("cat", "dog", "bird")
STEPS = (166, 500, 833)


@dataclass(frozen=True)
class Family:
    build: str
    settings: tuple[tuple[str, Any], ...] = ()
    network: str = ""
    native: str = "epsilon"
    size: int = 32

    def pipeline(self, tiny: Any) -> Any:
        return getattr(tiny, self.build)(**dict(self.settings))


FAMILIES = {
    "sd": Family("stable_diffusion"),
    "sd-v": Family("stable_diffusion", (("prediction_type", "v_prediction"),), native="v_prediction"),
    "sdxl": Family("stable_diffusion_xl"),
    "sd3": Family("stable_diffusion_3", native="flow_prediction"),
    "sd3-t5": Family("stable_diffusion_3", (("t5", True),), native="flow_prediction"),
    "flux": Family("flux", native="flow_prediction"),
    "flux-schnell": Family("flux", (("guidance", False),), native="flow_prediction"),
    "pixart": Family("pixart"),
    "pixart-sizes": Family("pixart", (("conditions", True),)),
    "pixart-pixels": Family("pixart", (("pixels", True),), size=16),
}
every_family = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture(scope="session")
def pipeline_of(tiny):
    """A family's pipeline, built once and not to be changed."""
    return functools.cache(lambda name: FAMILIES[name].pipeline(tiny))


@pytest.fixture(scope="session")
def folder_of(pipeline_of, tmp_path_factory):
    """The folder that it was saved in."""

    @functools.cache
    def folder(name):
        path = tmp_path_factory.mktemp(name)
        pipeline_of(name).save_pretrained(path)
        return path

    return folder


def images(count: int, size: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(2))


@every_family
def test_errors_in_every_space_are_those_of_a_plain_loop(name, pipeline_of, folder_of, plain):
    family, pipeline = FAMILIES[name], pipeline_of(name)
    denoiser = load_denoiser(folder_of(name))
    assert denoiser.image_size == family.size
    assert denoiser.schedule.prediction == family.native
    image = images(1, family.size)
    prompts = [f"My {pet}!" for pet in PETS]
    network = getattr(plain, family.build)
    expected = plain.errors(network, pipeline, family.native, image, content_id(image[0]), prompts, STEPS)
    for space, by_hand in expected.items():
        classifier = DiffusionClassifier(
            denoiser, PETS, search=Exhaustive(3), prompt_template="My {}!", error_space=space
        )
        result = classifier.classify(image)
        np.testing.assert_allclose(result.errors[0], by_hand.mean(1), rtol=1e-5)
        assert result.predictions[0] == by_hand.mean(1).argmin()
    # Random weights, but every prompt is another condition.
    assert len(np.unique(result.errors)) == 3


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_errors_of_a_flow_are_the_formula(name, pipeline_of, plain):
    # |epsilon_hat - epsilon|^2 = (1 - sigma)^2 |v_hat - (epsilon - x_0)|^2, with x_t = (1 - sigma) x_0 + sigma epsilon.
    family, pipeline, image = FAMILIES[name], pipeline_of(name), images(1)
    prompts = [f"a photo of a {pet}." for pet in PETS]
    network = getattr(plain, family.build)
    of_velocity = plain.errors(network, pipeline, family.native, image, 5, prompts, STEPS)["flow_prediction"]
    sigma = np.array([plain.levels(pipeline.scheduler, step)[1] for step in STEPS])
    result = DiffusionClassifier(pipeline, PETS, search=Exhaustive(3)).classify(image, image_ids=[5])
    np.testing.assert_allclose(result.errors[0], ((1 - sigma) ** 2 * of_velocity).mean(1), rtol=1e-5)


def test_dit_in_every_space_is_that_of_a_plain_loop(tiny, plain):
    pipeline, image = tiny.dit_pipeline(), images(1)
    labels = [str(label) for label in range(10)]
    expected = plain.errors(plain.dit, pipeline, "epsilon", image, content_id(image[0]), labels, STEPS)
    for space, by_hand in expected.items():
        result = DiffusionClassifier(pipeline, labels, search=Exhaustive(3), error_space=space).classify(image)
        np.testing.assert_allclose(result.errors[0], by_hand.mean(1), rtol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_unet_of_pixels_in_every_space_is_that_of_a_plain_loop(prediction, tiny, plain):
    scheduler = diffusers.DDPMScheduler(prediction_type=prediction)
    parts = SimpleNamespace(unet=tiny.pixel_unet(), scheduler=scheduler)
    image, labels = images(1, 28, channels=1), [str(label) for label in range(10)]
    expected = plain.errors(plain.unet, parts, prediction, image, content_id(image[0]), labels, STEPS)
    for space, by_hand in expected.items():
        result = DiffusionClassifier(
            parts.unet, labels, scheduler=scheduler, search=Exhaustive(3), error_space=space
        ).classify(image)
        np.testing.assert_allclose(result.errors[0], by_hand.mean(1), rtol=1e-5)


@every_family
def test_a_pipeline_object_and_its_folder_agree(name, pipeline_of, folder_of):
    family, search = FAMILIES[name], Staged((2, 4), (2, 1))
    image = images(2, family.size)
    from_object = DiffusionClassifier(pipeline_of(name), PETS, search=search).classify(image)
    from_folder = DiffusionClassifier.from_pretrained(str(folder_of(name)), PETS, search=search).classify(image)
    np.testing.assert_array_equal(from_object.errors, from_folder.errors)
    np.testing.assert_array_equal(from_object.evaluations, from_folder.evaluations)
    assert (from_object.evaluations.sum(1) == 3 * 2 + 2 * 2).all()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, torch.bfloat16) for name in FAMILIES] + [(name, torch.float16) for name in ("sd", "sdxl", "sd3", "pixart")],
)
def test_only_the_network_computes_in_half_precision(name, dtype, pipeline_of, folder_of):
    image, search = images(1, FAMILIES[name].size), Exhaustive(2)
    coarse = DiffusionClassifier.from_pretrained(folder_of(name), PETS, search=search, torch_dtype=dtype)
    assert coarse.denoiser.network.dtype == dtype
    for value in coarse.evaluator.condition.values():
        assert value.dtype in (dtype, torch.int64)
    exact = DiffusionClassifier(pipeline_of(name), PETS, search=search)
    np.testing.assert_allclose(coarse.classify(image).errors, exact.classify(image).errors, rtol=1e-2)


@every_family
def test_a_prediction_has_the_shape_of_what_is_denoised(name, pipeline_of):
    denoiser = as_denoiser(pipeline_of(name))
    x0 = denoiser.encode_images(images(2, denoiser.image_size))
    condition = denoiser.encode_classes(["a cat", "a dog"])
    time = denoiser.schedule.network_times(np.array([100, 900]))
    with torch.no_grad():
        output = denoiser.predict(x0, time, condition)
    assert output.shape == (2, x0.shape[1] * (2 if denoiser.learns_variance else 1), *x0.shape[2:])
    assert not output.requires_grad
    # A row does not depend on those beside it.
    with torch.no_grad():
        alone = denoiser.predict(x0[1:], time[1:], {key: value[1:] for key, value in condition.items()})
    torch.testing.assert_close(output[1:], alone)


@every_family
def test_prompts_are_encoded_a_few_at_a_time(name, pipeline_of, monkeypatch):
    denoiser = as_denoiser(pipeline_of(name))
    prompts = [f"a {pet}" for pet in PETS]
    together = denoiser.encode_classes(prompts)
    monkeypatch.setattr("vl_diffusion.models.families.prompted._PROMPT_BATCH_SIZE", 2)
    for key, value in denoiser.encode_classes(prompts).items():
        torch.testing.assert_close(value, together[key])
        assert len(value) == 3
        assert not value.requires_grad


def test_prompts_with_equal_encodings_are_named(pipeline_of):
    with pytest.warns(UserWarning, match=r"'a Cat' and 'a cat' are encoded identically") as told:
        DiffusionClassifier(pipeline_of("pixart"), ["Cat", "dog", "cat"], prompt_template="a {}", search=Exhaustive(2))
    assert len(told) == 1


def test_shared_padding_is_dropped(pipeline_of):
    condition = as_denoiser(pipeline_of("pixart")).encode_classes(["cat", "mouse"])
    assert condition["mask"].tolist() == [[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1]]
    assert condition["states"].shape == (2, 7, 32)


@pytest.mark.parametrize(
    ("name", "arguments", "found_at"),
    [
        ("sd", {"prompt": "a cat", "num_images_per_prompt": 1}, {"states": 1}),
        ("sdxl", {"prompt": "a cat"}, {"states": 1, "pooled": 3}),
        ("sd3", {"prompt": "a cat", "prompt_2": None, "prompt_3": None}, {"states": 1, "pooled": 3}),
        ("sd3-t5", {"prompt": "a cat", "prompt_2": None, "prompt_3": None}, {"states": 1, "pooled": 3}),
        ("pixart", {"prompt": "a cat"}, {"states": 2, "mask": 3}),
    ],
)
def test_the_unconditional_prompt_is_that_of_guidance(name, arguments, found_at, pipeline_of):
    pipeline = pipeline_of(name)
    parts = pipeline.encode_prompt(**arguments, do_classifier_free_guidance=True, device="cpu")
    found = unconditional(as_denoiser(pipeline))
    assert found.keys() == found_at.keys()
    for key, place in found_at.items():
        # Behind what the mask lets through there is only padding.
        kept = parts[place][:, : found[key].shape[1]]
        torch.testing.assert_close(found[key], kept.to(found[key].dtype))


def test_an_sdxl_without_zeros_for_no_caption_takes_the_empty_one(tiny):
    pipeline = tiny.stable_diffusion_xl()
    pipeline.register_to_config(force_zeros_for_empty_prompt=False)
    denoiser = as_denoiser(pipeline)
    empty = denoiser.encode_classes([""])
    assert all(bool(value.any()) for value in empty.values())
    torch.testing.assert_close(unconditional(denoiser), empty)


@pytest.mark.parametrize(
    "scheduler",
    [
        diffusers.DDPMScheduler,
        diffusers.PNDMScheduler,
        diffusers.EulerDiscreteScheduler,
        diffusers.DPMSolverMultistepScheduler,
        diffusers.UniPCMultistepScheduler,
        diffusers.LCMScheduler,
    ],
)
def test_any_scheduler_is_only_read(scheduler, tiny):
    pipeline, image = tiny.stable_diffusion(), images(1)
    expected = DiffusionClassifier(pipeline, PETS, search=Exhaustive(2)).classify(image).errors
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    np.testing.assert_array_equal(
        DiffusionClassifier(pipeline, PETS, search=Exhaustive(2)).classify(image).errors, expected
    )


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("sd", diffusers.StableDiffusionImg2ImgPipeline),
        ("sd", diffusers.StableDiffusionInpaintPipeline),
        ("sdxl", diffusers.StableDiffusionXLImg2ImgPipeline),
        ("sd3", diffusers.StableDiffusion3Img2ImgPipeline),
        ("flux", diffusers.FluxImg2ImgPipeline),
    ],
)
def test_image_to_image_variants_are_supported(name, variant, pipeline_of, tmp_path):
    pipeline, image = pipeline_of(name), images(1)
    expected = DiffusionClassifier(pipeline, PETS, search=Exhaustive(2)).classify(image).errors
    settings = {"requires_safety_checker": False} if name == "sd" else {}
    other = variant(**pipeline.components, **settings)
    np.testing.assert_array_equal(
        DiffusionClassifier(other, PETS, search=Exhaustive(2)).classify(image).errors, expected
    )
    other.save_pretrained(tmp_path / name)
    loaded = DiffusionClassifier.from_pretrained(tmp_path / name, PETS, search=Exhaustive(2))
    np.testing.assert_array_equal(loaded.classify(image).errors, expected)


def test_flux_blocks_are_unpacked_as_they_were_packed():
    latent = torch.randn(2, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    rows = pack(latent)
    assert rows.shape == (2, 12, 12)
    torch.testing.assert_close(rows[1, 4], latent[1, :, 2:4, 2:4].flatten())
    torch.testing.assert_close(unpack(rows, 8, 6), latent)


def test_flux_gets_the_guidance_if_distilled(pipeline_of):
    def errors(name, **settings):
        denoiser = FluxDenoiser(pipeline_of(name), **settings)
        return DiffusionClassifier(denoiser, PETS, search=Exhaustive(2)).classify(images(1)).errors

    assert not np.allclose(errors("flux"), errors("flux", guidance=3.5))
    np.testing.assert_array_equal(errors("flux-schnell"), errors("flux-schnell", guidance=3.5))
    assert not np.allclose(errors("flux"), errors("flux", max_sequence_length=256))


def test_flux_pads_prompts_to_the_length_of_its_training(pipeline_of):
    for name, length in (("flux", 512), ("flux-schnell", 256)):
        assert as_denoiser(pipeline_of(name)).encode_classes(["a cat"])["states"].shape[1] == length
    shorter = FluxDenoiser(pipeline_of("flux"), max_sequence_length=20)
    classifier = DiffusionClassifier(shorter, PETS, search=Exhaustive(2))
    assert classifier.denoiser.encode_classes(["a cat"])["states"].shape[1] == 20
    assert np.isfinite(classifier.classify(images(1)).errors).all()
    with pytest.raises(ValueError, match=r"max_sequence_length must be in 1 \.\.\. 512, got 600"):
        FluxDenoiser(pipeline_of("flux"), max_sequence_length=600)


def test_time_inputs_of_flux_and_sd3(pipeline_of):
    flux, sd3 = (as_denoiser(pipeline_of(name)).schedule for name in ("flux", "sd3"))
    np.testing.assert_allclose(flux.times, np.arange(1, 1001) / 1000)
    np.testing.assert_allclose(sd3.times, 1000 * sd3.sigma)
    assert flux.times[-1] == flux.sigma[-1] == 1


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux", "pixart", "pixart-sizes", "pixart-pixels"])
def test_the_image_size_can_be_chosen(name, pipeline_of, folder_of):
    size = FAMILIES[name].size // 2
    denoiser = as_denoiser(pipeline_of(name), image_size=size)
    assert denoiser.image_size == size
    small = DiffusionClassifier(denoiser, PETS, search=Exhaustive(2)).classify(images(1))
    large = DiffusionClassifier(pipeline_of(name), PETS, search=Exhaustive(2)).classify(images(1))
    assert not np.allclose(small.errors, large.errors)
    loaded = DiffusionClassifier.from_pretrained(folder_of(name), PETS, image_size=size, search=Exhaustive(2))
    np.testing.assert_array_equal(loaded.classify(images(1)).errors, small.errors)
    built = DiffusionClassifier(pipeline_of(name), PETS, image_size=size, search=Exhaustive(2))
    np.testing.assert_array_equal(built.classify(images(1)).errors, small.errors)
    with pytest.raises(ValueError, match=f"image_size must be the model.s own {size} or None"):
        DiffusionClassifier(denoiser, PETS, image_size=2 * size)
    with pytest.raises(ValueError, match="image_size must be a positive multiple of"):
        as_denoiser(pipeline_of(name), image_size=15)
    with pytest.raises(ValueError, match="got 0"):
        as_denoiser(pipeline_of(name), image_size=0)


def test_the_emoji_model_takes_any_prompt_and_discriminates():
    classifier = DiffusionClassifier.from_pretrained(
        "emoji",
        ("red apple", "snowman", "black cat", "something else"),
        search=Exhaustive(8),
        prompt_template="{}",
        error_space="v_prediction",
        time_range=(0.58, 0.99),
    )
    assert (classifier.denoiser.image_size, classifier.denoiser.image_channels) == (32, 3)
    red = torch.ones(3, 32, 32)
    red[1:, 6:26, 6:26] = 0.1
    result = classifier.classify(red)
    assert result.predicted_classes == ("red apple",)
    assert (np.delete(result.differences[0], 0) > 0).all()
