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


def refiner(tiny):
    parts = tiny.stable_diffusion_xl().components | {"text_encoder": None, "tokenizer": None}
    return diffusers.StableDiffusionXLImg2ImgPipeline(**parts, requires_aesthetics_score=True, add_watermarker=False)


def with_nine_channels(tiny):
    pipeline = tiny.stable_diffusion()
    config = dict(pipeline.unet.config) | {"in_channels": 9}
    return without(pipeline, unet=diffusers.UNet2DConditionModel.from_config(config))


def of_another_family(name):
    return lambda tiny: type(name, (), {"unet": None, "text_encoder": None, "tokenizer": None})()


def lacking(build, part):
    return lambda tiny: without(getattr(tiny, build)(), **{part: None})


def scheduled_by(build, scheduler):
    return lambda tiny: without(getattr(tiny, build)(), scheduler=scheduler())


REFUSED = {
    **{
        f"pipeline of another family: {name}": (
            of_another_family(name),
            {},
            f"StableDiffusion3Pipeline, FluxPipeline, .*CallableDenoiser.*got {name}",
        )
        for name in ("IFPipeline", "KandinskyV22Pipeline", "StableDiffusionUpscalePipeline")
    },
    "refiner": (refiner, {}, r"got a refiner.*use the base model"),
    **{
        f"{build} without {part}": (lacking(build, part), {}, f"this KIND has no {part}; load it with all its parts")
        for build, part in (
            ("stable_diffusion", "text_encoder"),
            ("stable_diffusion_xl", "text_encoder_2"),
            ("stable_diffusion_3", "text_encoder_2"),
            ("flux", "text_encoder_2"),
            ("flux", "vae"),
            ("pixart", "tokenizer"),
            ("pixart", "transformer"),
            ("stable_diffusion", "scheduler"),
        )
    },
    "inpainting network": (
        with_nine_channels,
        {},
        r"StableDiffusionPipeline must take the 4 channels .* got 9; .* mask",
    ),
    "SDXL without size conditioning": (
        lambda tiny: without(tiny.stable_diffusion_xl(), unet=tiny.stable_diffusion().unet),
        {},
        r"'text_time' as in SDXL, got None",
    ),
    **{
        f"{build} with a scheduler of a diffusion": (
            scheduled_by(build, diffusers.DDIMScheduler),
            {},
            r"flow matching like its network, got DDIMScheduler; restore",
        )
        for build in ("stable_diffusion_3", "flux")
    },
    **{
        kind.__name__: (
            scheduled_by("stable_diffusion", kind),
            {},
            f"{kind.__name__} has no beta_schedule: .*EDM is not",
        )
        for kind in (diffusers.EDMEulerScheduler, diffusers.EDMDPMSolverMultistepScheduler)
    },
    "size of a DiT pipeline": (
        lambda tiny: tiny.dit_pipeline(),
        {"image_size": 64},
        r"image_size must be None for a DiTPipeline, whose size is fixed, got 64",
    ),
    **{
        f"scheduler for {name}": (
            build,
            {"scheduler": diffusers.DDIMScheduler(prediction_type="v_prediction")},
            "scheduler must be None for a KIND, which has its own",
        )
        for name, build in {
            "a text-conditional pipeline": lambda tiny: tiny.stable_diffusion(),
            "a DiT pipeline": lambda tiny: tiny.dit_pipeline(),
            "a denoiser": lambda tiny: as_denoiser(tiny.stable_diffusion()),
        }.items()
    },
}


@pytest.mark.parametrize(("build", "arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_models_that_are_not_supported_are_refused(build, arguments, message, tiny):
    model = build(tiny)
    with pytest.raises(ValueError, match=message.replace("KIND", type(model).__name__)):
        as_denoiser(model, **arguments)


@pytest.mark.parametrize(
    "scheduler", [diffusers.EDMEulerScheduler, diffusers.EDMDPMSolverMultistepScheduler], ids=lambda s: s.__name__
)
def test_saved_pipelines_with_edm_are_refused_by_file(scheduler, tmp_path):
    scheduler().save_pretrained(tmp_path / "scheduler")
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(ValueError, match=r"scheduler_config\.json: .*EDM is not"):
        load_denoiser(tmp_path)


def test_continuous_timesteps_of_edm_are_refused():
    scheduler = diffusers.EulerDiscreteScheduler(timestep_type="continuous", prediction_type="v_prediction")
    with pytest.raises(ValueError, match=r"EulerDiscreteScheduler uses .* EDM, which is not supported"):
        NoiseSchedule.from_scheduler(scheduler)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("dit_folder", r"image_size must be None for .*, whose size is fixed, got 64"),
        ("pixel_dit_folder", r"image_size must be None for the network in .*, whose size is fixed, got 64"),
    ],
)
def test_saved_models_of_fixed_size_take_no_other(folder, message, request):
    with pytest.raises(ValueError, match=message):
        load_denoiser(request.getfixturevalue(folder), image_size=64)


def test_classes_derived_from_a_supported_one_are_taken(tiny):
    class OurPipeline(diffusers.PixArtAlphaPipeline):
        pass

    assert as_denoiser(OurPipeline(**tiny.pixart().components)).image_size == 32


def test_a_flow_is_recognized_by_its_scheduler_class():
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


def test_a_text_conditional_pipeline_needs_classes(tiny):
    with pytest.raises(ValueError, match=r"classes is missing"):
        DiffusionClassifier(tiny.pixart())
