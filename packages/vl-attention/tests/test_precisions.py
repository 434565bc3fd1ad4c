"""Models in half precision: each computes in its own type, and losses are float32."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from vl_attention import AttentionTransfer, attention_maps, random_student

HALF = [torch.float16, torch.bfloat16]
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 2e-2}


def _step(transfer, images):
    output = transfer.train()(images)
    (output.transfer_loss.nan_to_num() + output.logits.float().square().mean()).backward()
    return output


@pytest.mark.parametrize("mode", ["distill", "distill_k", "output", "relations", "copy", "copy_v"])
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_a_half_precision_teacher_teaches_a_float32_student(make, images, mode, dtype):
    plain, mixed = (AttentionTransfer(teacher, make(seed=1), mode=mode) for teacher in (make(), make().to(dtype)))
    expected, found = _step(plain, images), _step(mixed, images)
    assert found.transfer_loss.dtype == found.logits.dtype == torch.float32
    for name in ("logits", "layer_losses"):
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype]
        )
    assert {parameter.grad.dtype for parameter in mixed.parameters() if parameter.grad is not None} == {torch.float32}
    assert {parameter.dtype for parameter in mixed.teacher.parameters()} == {dtype}


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("given", [torch.float32, torch.float16, torch.float64], ids=str)
def test_images_are_converted_to_the_type_of_both_models(make, images, dtype, given):
    expected = AttentionTransfer(make(), make(seed=1))(images).layer_losses
    output = _step(AttentionTransfer(make(), make(seed=1)).to(dtype), images.to(given))
    assert output.logits.dtype == dtype
    assert output.layer_losses.dtype == torch.float32
    torch.testing.assert_close(output.layer_losses, expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_autocast_leaves_a_half_precision_teacher_its_type(make, images, dtype):
    expected = AttentionTransfer(make(), make(seed=1))(images).layer_losses
    transfer = AttentionTransfer(make().to(dtype), make(seed=1)).train()
    seen = []
    transfer.teacher.blocks[0].register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        output = transfer(images)
    assert seen == [dtype]
    assert output.layer_losses.dtype == torch.float32
    torch.testing.assert_close(output.layer_losses, expected, atol=2e-2, rtol=2e-2)


def test_losses_of_half_precision_are_summed_in_float32(vit):
    """Squared differences beyond float16's largest number, 65,504, and below its smallest, 6e-8."""
    images = torch.rand(2, 3, 32, 32)
    for factor in (300.0, 1e-5):
        models = [vit(), vit(seed=1)]
        for model in models:
            with torch.no_grad():
                model.blocks[0].attn.proj.weight.mul_(factor)
                model.blocks[0].attn.proj.bias.mul_(factor)
        outputs = [m.blocks[0].attn(m.blocks[0].norm1(m._pos_embed(m.patch_embed(2 * images - 1)))) for m in models]
        expected = F.mse_loss(*outputs)
        transfer = AttentionTransfer(models[0].half(), models[1].half(), mode="output", layers=[0])
        assert transfer(images).transfer_loss.item() == pytest.approx(expected.item(), rel=2e-2)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", ["ViT", "transformers ViT"])
def test_a_student_of_a_half_precision_teacher_is_float32(make, images, name, dtype):
    expected = random_student(make(name), 5, seed=1).state_dict()
    transfer = AttentionTransfer(make(name).to(dtype), num_classes=5, seed=1)
    state = transfer.student.state_dict()
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert all(torch.equal(value, expected[key]) for key, value in state.items())
    assert _step(transfer, images).layer_losses.isfinite().all()


def test_analysis_takes_models_in_half_precision(make, images):
    expected, found = attention_maps(make(), images)[2], attention_maps(make().bfloat16(), images)[np.int64(-1) + 3]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=0)
