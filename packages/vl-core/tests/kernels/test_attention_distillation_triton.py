"""The Triton kernels: under the interpreter on any machine, the same tests for real on a GPU, and compiled for others.

A process runs the interpreter or it does not, so `TRITON_INTERPRET=1` tests are a run of their own.
"""

from __future__ import annotations

import pytest
import torch
from vl_core.kernels import attention_distillation

# Triton 3.5's interpreter reads the bounds of a loop in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0 to a scalar:DeprecationWarning")

BOTH = [
    pytest.param("cpu", marks=pytest.mark.interpreter),
    pytest.param("cuda", marks=pytest.mark.gpu),
]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
BOTH_WAYS = pytest.mark.usefixtures("way")


@pytest.fixture(autouse=True)
def scratch_is_poisoned(monkeypatch):
    """Fill what kernels allocate with NaN, so that a place nobody writes, or reads too early, shows."""
    from torch.utils import deterministic

    monkeypatch.setattr(deterministic, "fill_uninitialized_memory", True)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture(params=["whole_head", "long"])
def way(request, monkeypatch):
    """Short heads through the kernel for whole heads, and then through those for long ones."""
    if request.param == "long":
        from vl_core.kernels.attention_distillation import triton

        monkeypatch.setattr(triton, "_WHOLE_HEAD_TOKENS", 0)


def solve(dense, tensors, options, loss, **more):
    """A loss and its gradients, by an upstream gradient that is nowhere one and differs from head to head."""
    found = loss(*tensors, **options, **more)
    upstream = torch.linspace(-2, 3, found.numel(), dtype=torch.float64, device=found.device).view(found.shape)
    gradients = torch.autograd.grad(found, dense.learned(tensors, options), upstream.to(found.dtype))
    return [found.detach(), *gradients]


def check(dense, problem):
    """The kernel errs no more than one and a half times as much as a dense formula in the inputs' own precision."""
    found = solve(dense, *problem, attention_distillation, impl="triton")
    eager = solve(dense, *problem, dense.loss)
    exact = solve(dense, *dense.double(*problem), dense.loss)
    for mine, plain, right in zip(found, eager, exact, strict=True):
        rounding = 4 * torch.finfo(mine.dtype).eps * right.abs().max()
        assert mine.isfinite().all()
        assert (mine - right).abs().max() <= 1.5 * (plain - right).abs().max() + rounding


@pytest.mark.parametrize("device", BOTH)
@BOTH_WAYS
def test_every_option_equals_the_dense_formula(dense, every_option, device):
    for tokens in (1, 63) if device == "cpu" else (1, 63, 197, 577):
        check(dense, dense.problem(every_option, tokens, torch.float32, device=device))


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tokens", [1, 63, 197, 257, 577])
def test_every_precision_and_length(dense, device, dtype, tokens):
    tensors, options = dense.problem("strided", tokens, dtype, width=64, device=device)
    heads = slice(2, None) if device == "cpu" and tokens > 63 else slice(1, None)  # the interpreter takes its time
    check(dense, ([t[:1, heads] for t in tensors], options))


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("option", ["key_mask", "bias_by_image", "head_average_kl", "row_weight", "narrow_teacher"])
@BOTH_WAYS
def test_options_in_every_precision(dense, device, dtype, option):
    check(dense, dense.problem(option, 63, dtype, width=16, device=device))


@pytest.mark.parametrize("device", BOTH)
@BOTH_WAYS
def test_teacher_may_have_another_precision(dense, device):
    tensors, _ = dense.problem("plain", 63, torch.bfloat16, device=device)
    tensors[2:] = [t.float() for t in tensors[2:]]
    found = attention_distillation(*tensors, impl="triton")
    torch.testing.assert_close(found, attention_distillation(*tensors, impl="reference"), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("device", BOTH)
@BOTH_WAYS
def test_small_differences_survive_half_precision(device):
    """Near convergence the maps differ by less than half precision can tell apart, and the gradient is still right."""
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 2, 200, 32, generator=generator).half().to(device)
    near = (q.float() * 1.002).half().requires_grad_()
    gradient = torch.autograd.grad(attention_distillation(near, k, q, k, reduction="sum", impl="triton"), near)[0]
    exact = near.detach().double().requires_grad_()
    loss = attention_distillation(exact, k.double(), q.double(), k.double(), reduction="sum", impl="reference")
    wanted = torch.autograd.grad(loss, exact)[0]
    assert torch.linalg.norm(gradient.double() - wanted) <= 2e-2 * torch.linalg.norm(wanted)


@pytest.mark.parametrize("device", BOTH)
@BOTH_WAYS
def test_without_gradients_the_loss_is_the_same(dense, device):
    tensors, _ = dense.problem("plain", 63, torch.float32, device=device)
    with_gradients = attention_distillation(*tensors, impl="triton")
    with torch.no_grad():
        assert torch.equal(with_gradients, attention_distillation(*tensors, impl="triton"))


@pytest.mark.parametrize("device", BOTH)
def test_an_empty_batch_has_no_loss(device):
    empty = torch.empty(0, 3, 5, 8, device=device, requires_grad=True)
    loss = attention_distillation(empty, empty, empty, empty, impl="triton")
    assert loss == 0
    assert torch.autograd.grad(loss, empty)[0].shape == empty.shape


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's, of its own copies
@pytest.mark.parametrize("tokens", [9, 257])
def test_operator_is_registered_in_full(dense, device, tokens):
    tensors, _ = dense.problem("plain", tokens, torch.float32, device=device)
    tensors = [t[:1, :1].detach().requires_grad_(t.requires_grad) for t in tensors]
    nothing = (None,) * 7
    arguments = (*tensors, *nothing, 0.3, 0.3, False, "triton", True)
    results = torch.library.opcheck(torch.ops.vl_core.attention_distillation.default, arguments)
    assert set(results.values()) == {"SUCCESS"}
    assert len(results) == 4


@pytest.mark.parametrize("device", BOTH)
def test_compiles_as_one_graph(dense, device):
    tensors, options = dense.problem("key_mask", 33, torch.float32, device=device)

    def loss(q, k):
        return attention_distillation(q * 2, k, *tensors[2:], **options, impl="triton") * 3

    backend = "inductor" if device == "cuda" else "aot_eager"
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    found = torch.autograd.grad(compiled(*tensors[:2]), tensors[:2])
    for pair in zip(torch.autograd.grad(loss(*tensors[:2]), tensors[:2]), found, strict=True):
        torch.testing.assert_close(*pair)


@pytest.mark.parametrize(
    ("dtype", "width", "message"),
    [(torch.float64, 8, "float16, bfloat16 and float32, not torch.float64"), (torch.float32, 160, "up to 128 dim")],
)
@pytest.mark.parametrize("device", BOTH)
def test_what_it_cannot_do_is_said(dense, device, dtype, width, message):
    tensors, _ = dense.problem("plain", 5, dtype, width=width, device=device)
    with pytest.raises(ValueError, match=f"impl='triton' cannot compute this: it takes .*{message}"):
        attention_distillation(*tensors, impl="triton")


@pytest.mark.gpu
@pytest.mark.parametrize("tokens", [197, 577])
def test_gpu_gives_the_same_bits_twenty_times(dense, tokens):
    problem = dense.problem("learned_scale_by_head", tokens, torch.bfloat16, width=64, device="cuda")
    first = solve(dense, *problem, attention_distillation, impl="triton")
    for _ in range(19):
        again = solve(dense, *problem, attention_distillation, impl="triton")
        assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("impl", ["triton", "sdpa"])
def test_gpu_memory_does_not_hold_a_map(impl):
    q, k = torch.randn(2, 1, 12, 4097, 64, device="cuda", dtype=torch.bfloat16).requires_grad_()
    teacher = torch.randn(2, 1, 12, 4097, 64, device="cuda", dtype=torch.bfloat16)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    attention_distillation(q, k, *teacher, impl=impl).backward()
    one_map = 12 * 4097**2 * 2
    assert torch.cuda.max_memory_allocated() - before < one_map / 4


@pytest.mark.gpu
def test_gpu_auto_is_the_kernel(dense):
    tensors, options = dense.problem("bias", 197, torch.bfloat16, width=64, device="cuda")
    assert torch.equal(*(attention_distillation(*tensors, **options, impl=impl) for impl in ("auto", "triton")))
