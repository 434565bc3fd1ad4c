"""The Triton kernels of noise: under the interpreter on any machine, and the same tests for real on a GPU."""

from __future__ import annotations

import pytest
import torch
from vl_core.kernels import diffuse, noise_error
from vl_core.noise import gaussian, philox

# Triton 3.5's interpreter reads the bounds of a loop in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0 to a scalar:DeprecationWarning")

BOTH = pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.interpreter), pytest.param("cuda", marks=pytest.mark.gpu)]
)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
SHAPES = [(), (1,), (63,), (197,), (257,), (577,), (3, 19, 23), (4, 32, 32)]


@pytest.fixture(autouse=True)
def scratch_is_poisoned(monkeypatch):
    """Fill what kernels allocate with NaN, so that a place nobody writes shows."""
    from torch.utils import deterministic

    monkeypatch.setattr(deterministic, "fill_uninitialized_memory", True)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(before)


def any_keys(rows, device):
    """Keys with words all over their range, and those at its ends."""
    keys = torch.randint(-(2**63), 2**63 - 1, (rows, 2), generator=torch.Generator().manual_seed(rows))
    keys[0] = torch.tensor([-1, 2**63 - 1])
    return keys.to(device)


@BOTH
def test_words_are_those_of_philox(device):
    triton = pytest.importorskip("triton")
    import triton.language as tl
    from vl_core.kernels.noise_evaluation.triton_gaussian import words

    @triton.jit
    def store_words(keys, found, BLOCKS: tl.constexpr):
        row = tl.program_id(0)
        blocks = tl.arange(0, BLOCKS)
        x0, x1, x2, x3 = words(tl.load(keys + 2 * row), tl.load(keys + 2 * row + 1), blocks)
        place = found + (row * BLOCKS + blocks) * 4
        tl.store(place, x0.to(tl.int64))
        tl.store(place + 1, x1.to(tl.int64))
        tl.store(place + 2, x2.to(tl.int64))
        tl.store(place + 3, x3.to(tl.int64))

    globals().update(words=words, tl=tl)  # where a kernel looks names up
    keys = any_keys(5, device)
    found = torch.empty(5, 64, 4, dtype=torch.int64, device=device)
    store_words[(5,)](keys, found, BLOCKS=64)
    block = torch.arange(64, device=device)
    low_high = torch.stack((keys & 0xFFFFFFFF, (keys >> 32) & 0xFFFFFFFF), -1)  # [5, column, half]
    counter = torch.stack((block, torch.zeros_like(block)), -1).expand(5, 64, 2)
    counter = torch.cat((counter, low_high[:, 1:].expand(5, 64, 2)), -1)
    assert torch.equal(found, philox(counter, low_high[:, :1].expand(5, 64, 2)))


@BOTH
def test_normals_are_those_of_the_stream(device):
    """To 1e-6, relative above one: those rows of 1.2 million normals that reach farthest out, and on a GPU all."""
    keys, size = any_keys(120, device), 10_001
    if device == "cpu":
        keys = keys[gaussian(keys, (size,)).abs().amax(1).topk(4).indices]
    image = torch.zeros(len(keys), dtype=torch.int64, device=device)
    found = diffuse(torch.zeros(1, size, device=device), keys, 0.0, 1.0, image=image, impl="triton")
    wanted = gaussian(keys, (size,))
    assert ((found - wanted).abs() / wanted.abs().clamp(min=1)).max() <= 1e-6
    assert wanted.abs().max() > 4.5


@BOTH
def test_logarithm_and_angles_are_exact_where_it_is_hard(device):
    """Near one a logarithm that is off by a constant would be off by everything; sines cross zero at the quarters."""
    triton = pytest.importorskip("triton")
    import triton.language as tl
    from vl_core.kernels.noise_evaluation.triton_gaussian import _log, _sine_cosine

    @triton.jit
    def evaluate(uniform, angle, log, sine, cosine, COUNT: tl.constexpr):
        i = tl.arange(0, COUNT)
        tl.store(log + i, _log(tl.load(uniform + i)))
        s, c = _sine_cosine(tl.load(angle + i))
        tl.store(sine + i, s)
        tl.store(cosine + i, c)

    globals().update(_log=_log, _sine_cosine=_sine_cosine, tl=tl)
    count = 4096
    near_one = 1 - torch.arange(1, count // 2 + 1) * 2.0**-24
    uniform = torch.cat((near_one, 2.0 ** -torch.linspace(0, 32, count // 2))).to(device)
    quarters = torch.arange(-2, 3)[:, None] * torch.pi / 2 + torch.linspace(-1e-4, 1e-4, 401)
    angle = torch.cat((quarters.flatten(), torch.linspace(-torch.pi, torch.pi, count - quarters.numel())))
    angle = angle.float().clamp(-torch.pi, torch.pi).to(device)
    log, sine, cosine = (torch.empty(count, device=device) for _ in range(3))
    evaluate[(1,)](uniform, angle, log, sine, cosine, COUNT=count)
    torch.testing.assert_close(log.double(), uniform.double().log(), rtol=2.5e-7, atol=0)
    torch.testing.assert_close(sine.double(), angle.double().sin(), rtol=0, atol=1.2e-7)
    torch.testing.assert_close(cosine.double(), angle.double().cos(), rtol=0, atol=1.2e-7)


@BOTH
@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
def test_noisy_images_of_every_size_and_precision(dense_noise, device, dtype, shape):
    x0 = torch.randn(3, *shape, device=device).to(dtype)
    keys, alpha, sigma = any_keys(5, device), torch.rand(5, device=device), torch.rand(5, device=device)
    image = torch.tensor([2, 2, 0, 1, 1], device=device)
    found = diffuse(x0, keys, alpha, sigma, image=image, impl="triton")
    exact = dense_noise.diffuse(x0.double(), keys, alpha, sigma, image=image)
    assert found.dtype == dtype
    assert found.shape == (5, *shape)
    # The interpreter cuts a number to bfloat16 where a GPU rounds it.
    rounding = torch.finfo(dtype).eps * (1 if device == "cpu" else 0.5)
    assert ((found - exact).abs() <= 2e-6 + rounding * exact.abs()).all()
    torch.testing.assert_close(
        diffuse(x0, keys, 0.8, 0.6, image=image, dtype=torch.float32, impl="triton"),
        diffuse(x0, keys, 0.8, 0.6, image=image, dtype=torch.float32, impl="reference"),
        rtol=1e-6,
        atol=2e-6,
    )


def check(dense_noise, prediction, options):
    """The kernel errs no more than one and a half times as much as stored noise in the inputs' own precision."""
    upstream = torch.linspace(-2, 3, len(prediction), device=prediction.device)

    def solve(loss, prediction, options, **more):
        errors = loss(prediction, **options, **more)
        gradient = torch.autograd.grad(errors, prediction, upstream.to(errors.dtype))[0]
        return errors.detach(), gradient

    found = solve(noise_error, prediction, options, impl="triton")
    cast = {
        name: value.to(prediction.dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for name, value in options.items()
    }
    eager = solve(dense_noise.noise_error, prediction, cast)
    exact = solve(dense_noise.noise_error, prediction.detach().double().requires_grad_(), dense_noise.double(options))
    assert found[0].dtype == torch.float32
    assert found[1].dtype == prediction.dtype
    for mine, plain, right in zip(found, eager, exact, strict=True):
        rounding = 4 * torch.finfo(mine.dtype).eps * right.abs().max()
        assert mine.isfinite().all()
        assert (mine - right).abs().max() <= 1.5 * (plain - right).abs().max() + rounding


@BOTH
@DTYPES
def test_every_error_equals_the_stored_one(dense_noise, every_comparison, device, dtype):
    check(dense_noise, *dense_noise.comparison(every_comparison, (3, 7, 5), dtype, device))


@BOTH
@pytest.mark.parametrize("shape", [(1,), (63,), (197,), (257,), (577,), (3, 19, 23), (4, 32, 32)])
def test_errors_of_every_size(dense_noise, device, shape):
    check(dense_noise, *dense_noise.comparison("v_prediction", shape, torch.float32, device))


@BOTH
def test_rows_depend_on_neither_the_batch_nor_the_launch(dense_noise, monkeypatch, device):
    from vl_core.kernels.noise_evaluation import triton

    prediction, options = dense_noise.comparison("weight_and_x0", (3, 19, 23), torch.float32, device)
    whole = noise_error(prediction, **options, impl="triton")
    gradient = torch.autograd.grad(whole.sum(), prediction)[0]
    x_t = diffuse(
        options["x0"], options["keys"], options["alpha"], options["sigma"], image=options["image"], impl="triton"
    )
    for longest in (1, 2, 3, 32):
        monkeypatch.setattr(triton, "_LONGEST_RUN", longest)
        again = noise_error(prediction, **options, impl="triton")
        assert torch.equal(whole, again)
        assert torch.equal(gradient, torch.autograd.grad(again.sum(), prediction)[0])
    by_row = ("keys", "image", "alpha", "sigma")
    for row in range(len(prediction)):
        one = {name: value[row : row + 1] if name in by_row else value for name, value in options.items()}
        assert torch.equal(noise_error(prediction[row : row + 1], **one, impl="triton"), whole[row : row + 1])
        levels = one["alpha"], one["sigma"]
        alone = diffuse(options["x0"], one["keys"], *levels, image=one["image"], impl="triton")
        assert torch.equal(alone, x_t[row : row + 1])


@BOTH
def test_channels_of_an_output_and_other_strides(device):
    output = torch.randn(3, 8, 4, 4, device=device).requires_grad_()
    keys = torch.arange(3, device=device)
    for prediction in (output[:, :4], output[:, ::2], output.transpose(2, 3)):
        found = noise_error(prediction, keys, impl="triton")
        torch.testing.assert_close(found, noise_error(prediction, keys), rtol=1e-6, atol=0)
        gradients = [
            torch.autograd.grad(noise_error(prediction, keys, impl=impl).sum(), output, retain_graph=True)[0]
            for impl in ("triton", "reference")
        ]
        torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


@BOTH
def test_a_row_of_no_image_is_nan(device):
    """The kernel cannot raise, and must not read what it does not own."""
    x0, keys = torch.ones(2, 5, device=device), torch.arange(4, device=device)
    image = torch.tensor([0, 2, -1, 1], device=device)
    x_t = diffuse(x0, keys, 0.8, 0.6, image=image, impl="triton")
    errors = noise_error(torch.zeros(4, 5, device=device), keys, target="sample", x0=x0, image=image, impl="triton")
    for found in (x_t[:, 0], errors):
        assert found.isnan().tolist() == [False, True, True, False]


@BOTH
def test_a_row_of_no_image_leaves_the_images_gradients_alone(device):
    x0 = torch.ones(2, 5, device=device, requires_grad=True)
    image = torch.tensor([0, 2, -1, 1], device=device)
    x_t = diffuse(x0, torch.arange(4, device=device), 0.8, 0.6, image=image, impl="triton")
    assert torch.equal(torch.autograd.grad(x_t.sum(), x0)[0], torch.full_like(x0, 0.8))


@pytest.mark.gpu
def test_gpu_reference_makes_a_row_of_no_image_nan_too():
    x0, keys = torch.ones(2, 5, device="cuda", dtype=torch.float64), torch.arange(4, device="cuda")
    image = torch.tensor([0, 2, -1, 1], device="cuda")
    x_t = diffuse(x0, keys, 0.8, 0.6, image=image)
    errors = noise_error(x_t, keys, weight=torch.ones_like(x0), image=image)
    for found in (x_t[:, 0], errors):
        assert found.isnan().tolist() == [False, True, True, False]


@BOTH
def test_empty_batches(device):
    none = torch.empty(0, 3, 4, device=device, requires_grad=True)
    keys = torch.empty(0, dtype=torch.int64, device=device)
    assert diffuse(none, keys, 0.5, 0.5, impl="triton").shape == (0, 3, 4)
    errors = noise_error(none, keys, impl="triton")
    assert errors.shape == (0,)
    assert torch.autograd.grad(errors.sum(), none)[0].shape == none.shape


@BOTH
def test_a_nan_in_a_prediction_is_a_nan_in_its_error(device):
    for loss in ("l2", "l1", "huber"):
        prediction = torch.zeros(2, 5, device=device)
        prediction[1, 3] = torch.nan
        prediction.requires_grad_()
        errors = noise_error(prediction, torch.arange(2, device=device), loss=loss, impl="triton")
        assert errors.isnan().tolist() == [False, True]
        assert torch.autograd.grad(errors.sum(), prediction)[0].isnan().sum() == 1


@BOTH
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's, of its own copies
def test_operators_are_registered_in_full(device):
    keys = any_keys(3, device)
    image = torch.tensor([1, 1, 0], device=device)
    levels = [torch.rand(3, device=device) for _ in range(3)]
    images = torch.randn(2, 24, device=device)
    weight = torch.full((2, 24), 1 / 24, device=device)
    x0, prediction = images.clone().requires_grad_(), torch.randn(3, 24, device=device, requires_grad=True)
    arguments = keys, images, image, *levels, weight, "v_prediction", "huber", 0.5, "triton"
    for operator, given in (
        (torch.ops.vl_core.diffuse, (x0, keys, *levels[:2], image, torch.float32, "triton")),
        (torch.ops.vl_core.noise_error, (prediction, *arguments)),
        (torch.ops.vl_core.noise_error_gradient, (torch.ones(3, device=device), prediction.detach(), *arguments)),
    ):
        results = torch.library.opcheck(operator.default, given)
        assert set(results.values()) == {"SUCCESS"}


@BOTH
def test_compiles_as_one_graph(device):
    x0, keys = torch.randn(2, 3, 8, device=device), torch.arange(4, device=device)
    image = torch.tensor([0, 0, 1, 1], device=device)
    gain = torch.tensor(1.1, device=device, requires_grad=True)

    def step(gain):
        x_t = diffuse(x0 * gain, keys, 0.8, 0.6, image=image, impl="triton")
        return noise_error(x_t * 2, keys, loss="huber", impl="triton") * 3

    compiled = torch.compile(step, fullgraph=True, backend="inductor" if device == "cuda" else "aot_eager")
    found, right = compiled(gain), step(gain)
    torch.testing.assert_close(found, right)
    torch.testing.assert_close(*(torch.autograd.grad(errors.sum(), gain) for errors in (found, right)))


@BOTH
def test_what_it_cannot_do_is_said(device):
    x0, keys = torch.zeros(2, 3, dtype=torch.float64, device=device), torch.arange(2, device=device)
    with pytest.raises(ValueError, match="it takes float16, bfloat16 and float32, not"):
        diffuse(x0, keys, 0.5, 0.5, impl="triton")
    with pytest.raises(ValueError, match="it takes float16, bfloat16 and float32, not"):
        diffuse(x0.float(), keys, 0.5, 0.5, dtype=torch.float64, impl="triton")
    with pytest.raises(ValueError, match="it takes float16, bfloat16 and float32, not"):
        noise_error(x0, keys, impl="triton")


@pytest.mark.gpu
def test_gpu_gives_the_same_bits_twenty_times(dense_noise):
    prediction, options = dense_noise.comparison("weight_and_x0", (4, 64, 64), torch.bfloat16, "cuda")

    def solve():
        errors = noise_error(prediction, **options, impl="triton")
        return errors.detach(), torch.autograd.grad(errors.sum(), prediction)[0]

    first = solve()
    for _ in range(19):
        assert all(torch.equal(*pair) for pair in zip(first, solve(), strict=True))


@pytest.mark.gpu
def test_gpu_stores_no_noise():
    """Errors of 256 rows take the memory of a few numbers a row, not of a row."""
    prediction = torch.randn(256, 4, 128, 128, device="cuda", dtype=torch.bfloat16)
    keys = torch.arange(256, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    noise_error(prediction, keys, impl="triton")
    assert torch.cuda.max_memory_allocated() - before < prediction.numel() / 50


@pytest.mark.gpu
def test_gpu_auto_is_the_kernel():
    x0, keys = torch.randn(4, 3, 32, 32, device="cuda"), torch.arange(4, device="cuda")
    assert torch.equal(*(diffuse(x0, keys, 0.8, 0.6, impl=impl) for impl in ("auto", "triton")))
    assert torch.equal(*(noise_error(x0, keys, impl=impl) for impl in ("auto", "triton")))
