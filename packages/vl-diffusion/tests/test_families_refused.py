"""Pipelines that cannot be classified with, or not as they are, are one error that says why."""

from __future__ import annotations

import diffusers
import pytest
from vl_diffusion import DiffusionClassifier, NoiseSchedule
from vl_diffusion.models.loading import as_denoiser, load_denoiser


def without(pipeline, **parts):
    for name, part in parts.items():
        setattr(pipeline, name, part)
    return pipeline


@pytest.mark.parametrize("name", ["IFPipeline", "KandinskyV22Pipeline", "StableDiffusionUpscalePipeline"])
def test_pipelines_of_other_families_are_refused_by_name(name):
    pipeline = type(name, (), {"unet": None, "text_encoder": None, "tokenizer": None})()
    with pytest.raises(ValueError, match=f"StableDiffusion3Pipeline, FluxPipeline, .*CallableDenoiser.*got {name}"):
        as_denoiser(pipeline)


def test_classes_derived_from_a_supported_one_are_taken(tiny):
    class OurPipeline(diffusers.PixArtAlphaPipeline):
        pass

    assert as_denoiser(OurPipeline(**tiny.pixart().components)).image_size == 32


def test_the_refiner_is_refused(tiny):
    parts = tiny.stable_diffusion_xl().components
    refiner = diffusers.StableDiffusionXLImg2ImgPipeline(
        **parts | {"text_encoder": None, "tokenizer": None}, requires_aesthetics_score=True, add_watermarker=False
    )
    with pytest.raises(ValueError, match=r"got a refiner.*use the base model"):
        as_denoiser(refiner)


@pytest.mark.parametrize(
    ("build", "part"),
    [
        ("stable_diffusion", "text_encoder"),
        ("stable_diffusion_xl", "text_encoder_2"),
        ("stable_diffusion_3", "text_encoder_2"),
        ("flux", "text_encoder_2"),
        ("flux", "vae"),
        ("pixart", "tokenizer"),
        ("pixart", "transformer"),
        ("stable_diffusion", "scheduler"),
    ],
)
def test_a_part_that_is_missing_is_named(build, part, tiny):
    pipeline = without(getattr(tiny, build)(), **{part: None})
    with pytest.raises(ValueError, match=f"this {type(pipeline).__name__} has no {part}; load it with all its parts"):
        as_denoiser(pipeline)


def test_a_network_that_is_shown_a_mask_as_well_is_refused(tiny):
    pipeline = tiny.stable_diffusion()
    config = dict(pipeline.unet.config) | {"in_channels": 9}
    pipeline = without(pipeline, unet=diffusers.UNet2DConditionModel.from_config(config))
    with pytest.raises(ValueError, match=r"StableDiffusionPipeline must take the 4 channels .* got 9; .* mask"):
        as_denoiser(pipeline)


def test_an_sdxl_network_without_the_sizes_of_images_is_refused(tiny):
    pipeline = without(tiny.stable_diffusion_xl(), unet=tiny.stable_diffusion().unet)
    with pytest.raises(ValueError, match=r"'text_time' as in SDXL, got None"):
        as_denoiser(pipeline)


@pytest.mark.parametrize("build", ["stable_diffusion_3", "flux"])
def test_a_flow_with_the_schedule_of_another_model_is_refused(build, tiny):
    pipeline = without(getattr(tiny, build)(), scheduler=diffusers.DDIMScheduler())
    with pytest.raises(ValueError, match=r"flow matching like its network, got DDIMScheduler; restore"):
        as_denoiser(pipeline)


@pytest.mark.parametrize(
    "scheduler", [diffusers.EDMEulerScheduler, diffusers.EDMDPMSolverMultistepScheduler], ids=lambda s: s.__name__
)
def test_edm_is_refused(scheduler, tiny, tmp_path):
    pipeline = without(tiny.stable_diffusion(), scheduler=scheduler())
    with pytest.raises(ValueError, match=f"{scheduler.__name__} has no beta_schedule: .*EDM is not"):
        as_denoiser(pipeline)
    scheduler().save_pretrained(tmp_path / "scheduler")
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(ValueError, match=r"scheduler_config\.json: .*EDM is not"):
        load_denoiser(tmp_path)


def test_edm_in_the_clothes_of_another_scheduler_is_refused():
    scheduler = diffusers.EulerDiscreteScheduler(timestep_type="continuous", prediction_type="v_prediction")
    with pytest.raises(ValueError, match=r"EulerDiscreteScheduler uses .* EDM, which is not supported"):
        NoiseSchedule.from_scheduler(scheduler)


def test_a_flow_is_known_by_the_kind_of_its_scheduler():
    class OurScheduler(diffusers.FlowMatchEulerDiscreteScheduler):
        pass

    schedule = NoiseSchedule.from_scheduler(OurScheduler(shift=3.0))
    assert schedule.prediction == "flow_prediction"
    assert schedule.sigma[499] == pytest.approx(0.75)


@pytest.mark.parametrize(("size", "taken"), [([28, 28], True), ((28, 28), True), (None, False), ((28, 56), False)])
def test_a_network_is_of_one_size_or_says_that_it_is_not(size, taken, tiny):
    unet, scheduler = tiny.pixel_unet(), diffusers.DDPMScheduler()
    unet.register_to_config(sample_size=size)
    if taken:
        assert as_denoiser(unet, scheduler=scheduler).image_size == 28
        return
    with pytest.raises(ValueError, match=r"sample_size of this UNet2DModel must be one .* got (None|\(28, 56\))"):
        as_denoiser(unet, scheduler=scheduler)
    pipeline = tiny.stable_diffusion()
    pipeline.unet.register_to_config(sample_size=size)
    with pytest.raises(ValueError, match=r"sample_size of this UNet2DConditionModel must be one number"):
        as_denoiser(pipeline)
    assert as_denoiser(pipeline, image_size=32).image_size == 32


def test_models_of_one_size_are_not_asked_for_another(tiny, dit_folder, pixel_dit_folder):
    with pytest.raises(ValueError, match=r"image_size must be None for a DiTPipeline, whose size is fixed, got 64"):
        as_denoiser(tiny.dit_pipeline(), image_size=64)
    with pytest.raises(ValueError, match=r"image_size must be None for .*, whose size is fixed, got 64"):
        load_denoiser(dit_folder, image_size=64)
    with pytest.raises(ValueError, match=r"image_size must be None for the network in .*, whose size is fixed, got 64"):
        load_denoiser(pixel_dit_folder, image_size=64)


def test_a_model_with_a_schedule_is_not_given_another(tiny):
    scheduler = diffusers.DDIMScheduler(prediction_type="v_prediction")
    for model in (tiny.stable_diffusion(), tiny.dit_pipeline(), as_denoiser(tiny.stable_diffusion())):
        with pytest.raises(ValueError, match=f"scheduler must be None for a {type(model).__name__}, which has its own"):
            DiffusionClassifier(model, ["cat", "dog"], scheduler=scheduler)


def test_a_pipeline_that_is_no_object_with_its_own_classes_needs_them(tiny):
    with pytest.raises(ValueError, match=r"classes is missing"):
        DiffusionClassifier(tiny.pixart())
