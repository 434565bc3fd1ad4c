"""Weights stored in float8: what is stored how, and that a model loads from it and predicts nearly the same."""

import pytest
import torch
from diffusers import DiTTransformer2DModel
from safetensors.torch import load_file
from store_in_float8 import SMALLEST, in_float8, main


def test_large_matrices_are_rounded_to_three_significant_bits_and_the_rest_is_kept():
    matrix = torch.linspace(-2, 2, SMALLEST).view(2, -1)
    stored = in_float8(
        {
            "matrix": matrix,
            "small": matrix[:, :4],
            "bias": matrix.flatten(),
            "steps": torch.ones(80, 80, dtype=torch.long),
        }
    )
    assert stored["matrix"].dtype == torch.float8_e4m3fn
    assert [stored[name].dtype for name in ("small", "bias", "steps")] == [torch.float32, torch.float32, torch.int64]
    # Half a unit of the last of four bits, and half the smallest subnormal number.
    assert ((stored["matrix"].float() - matrix).abs() <= matrix.abs() / 16 + 2**-10).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 500.0])
def test_values_that_float8_cannot_hold_are_refused(value):
    with pytest.raises(ValueError, match="weight must be finite and within 448"):
        in_float8({"weight": torch.full((2, SMALLEST), value)})


def test_a_model_loads_from_the_rewritten_file(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    model = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=32,
        in_channels=1,
        out_channels=1,
        num_layers=1,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=3,
    ).eval()
    model.save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    before = path.stat().st_size
    monkeypatch.setattr("sys.argv", ["store_in_float8.py", str(path)])
    main()
    assert path.stat().st_size < before / 3
    assert f"{before:,} to" in capsys.readouterr().out
    assert torch.float8_e4m3fn in {value.dtype for value in load_file(path).values()}
    loaded = DiTTransformer2DModel.from_pretrained(tmp_path, torch_dtype=torch.float32).eval()
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    x = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        one, other = (
            m(x, timestep=torch.tensor([1, 9, 500, 999]), class_labels=torch.arange(4)).sample for m in (model, loaded)
        )
    assert (one - other).square().mean() < 0.01 * one.square().mean()
