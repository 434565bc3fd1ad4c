"""The public functions: checks, defaults, and the choice of implementation."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from vl_core.kernels.checks import check_choice, check_floating, triton_missing
from vl_core.kernels.noise_evaluation import arguments, ops
from vl_core.kernels.noise_evaluation.inputs import Loss, NoiseErrorInputs, NoisyImageInputs, Target, compute_dtype

Impl = Literal["auto", "reference", "triton"]

_TRITON_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def diffuse(
    x0: Tensor,
    keys: Tensor,
    alpha: float | Tensor,
    sigma: float | Tensor,
    *,
    image: Tensor | None = None,
    dtype: torch.dtype | None = None,
    impl: Impl = "auto",
) -> Tensor:
    """Noisy images ``alpha * x0 + sigma * noise`` (Ho et al., 2020, equation 4) for many (image, draw) pairs at once.

    The noise is that of `vl_core.noise.gaussian` under the same keys, but it is never stored: it is made where it is
    added. A row depends on its own key, image and levels alone.

    Sizes: ``n`` rows, ``B`` images.

    Args:
        x0: Clean images or latents, ``(B, ...)``: float16, bfloat16, float32 or float64. Receives a gradient.
        keys: int64 ``(n,)`` or ``(n, 2)``, from `vl_core.noise.make_keys`.
        alpha: Signal level, a number or one for each row, ``(n,)``. No gradient.
        sigma: Noise level, likewise. For flow matching, ``alpha = 1 - sigma``.
        image: int64 ``(n,)``, the image that each row is of; equal numbers next to one another are cheapest. By
            default row ``i`` is of image ``i``, and ``n = B``.
        dtype: Of the result; by default that of ``x0``.
        impl: ``"reference"`` runs anywhere; ``"triton"`` needs a GPU, and no float64; ``"auto"`` takes the kernel where
            it can run. Asking for one by name never falls back.

    Returns:
        ``(n, ...)``. It is computed in float32 (float64 for float64) and rounded once; autocast changes nothing.

    Raises:
        TypeError: If an argument is of the wrong type or dtype.
        ValueError: If shapes or devices do not fit, or ``impl`` cannot do what is asked. On a GPU, a number in
            ``image`` that no image has makes that row NaN, because looking would make the GPU wait.

    Example:
        >>> pair = diffuse(torch.zeros(1, 3, 8, 8), torch.arange(2), 0.8, 0.6, image=torch.tensor([0, 0]))
        >>> noise = vl_core.noise.gaussian(torch.arange(2), (3, 8, 8))
        >>> torch.allclose(pair, 0.6 * noise)
        True
    """
    check_choice("impl", impl, get_args(Impl))
    check_floating("x0", x0)
    if x0.ndim == 0:
        raise ValueError("x0 must have shape (images, ...), got a single number")
    dtype = x0.dtype if dtype is None else dtype
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"dtype must be a floating type such as torch.float32, got {dtype!r}")
    keys = arguments.read_keys(keys, None, x0)
    rows = len(keys)
    image = arguments.read_image(image, rows, len(x0), "x0", x0)
    levels = [
        arguments.read_level(name, level, rows, compute_dtype(x0), x0)
        for name, level in (("alpha", alpha), ("sigma", sigma))
    ]
    inputs = NoisyImageInputs(arguments.flat(x0), keys, levels[0], levels[1], image, dtype)
    noisy = ops.diffuse(inputs, _choose_implementation(impl, x0, dtype))
    return noisy.view(rows, *x0.shape[1:])


def noise_error(
    prediction: Tensor,
    keys: Tensor,
    *,
    target: Target = "epsilon",
    x0: Tensor | None = None,
    image: Tensor | None = None,
    alpha: float | Tensor | None = None,
    sigma: float | Tensor | None = None,
    scale: float | Tensor | None = None,
    weight: Tensor | None = None,
    loss: Loss = "l2",
    delta: float = 1.0,
    impl: Impl = "auto",
) -> Tensor:
    """Error of each prediction of a diffusion model; the noise is regenerated and never stored.

    For each row the mean over its values of ``rho(scale * (prediction - target))``, with the noise of the row's key:
    the training loss of a diffusion model, by which the Diffusion Classifier (Li et al., 2023) chooses classes and
    Diffusion-TTA (Prabhudesai et al., 2023) adapts. Rows next to one another that share a key share the work of making
    its noise, so lay a draw's classes side by side.

    Sizes: ``n`` rows, ``B`` images. Levels, ``x0`` and ``weight`` receive no gradient.

    Args:
        prediction: The network's output, ``(n, ...)``: float16, bfloat16, float32 or float64. Receives a gradient. The
            noise channels of an output that holds variances too, ``output[:, :4]``, are read in place.
        keys: int64 ``(n,)`` or ``(n, 2)``, those that `diffuse` was given; repeat one for each row that shares it.
        target: What was predicted: the noise (``"epsilon"``); the velocity ``alpha * noise - sigma * x0``
            (``"v_prediction"``); ``noise - x0`` (``"flow_prediction"``); or ``x0`` (``"sample"``).
        x0: Clean images ``(B, ...)``; for the targets that contain them.
        image: int64 ``(n,)``, the image that each row is of. By default row ``i`` is of image ``i``, and ``n = B``.
        alpha: Signal level, a number or one for each row, ``(n,)``; for ``"v_prediction"``.
        sigma: Noise level, likewise.
        scale: What differences are multiplied by before the loss, a number or one for each row. It takes an error to
            where noise is predicted: ``alpha`` for ``"v_prediction"``, ``alpha / sigma`` for ``"sample"``, and
            ``1 - sigma`` for ``"flow_prediction"``.
        weight: Of values, at least zero; broadcasts to ``(B, ...)`` or to a single image's ``(...)``. The mean is then
            a weighted one. A row without any weight has error zero.
        loss: ``"l2"`` the square, ``"l1"`` the absolute value, ``"huber"`` half the square up to ``delta`` and
            ``delta * (|difference| - delta / 2)`` beyond.
        delta: Of the Huber loss, above zero.
        impl: ``"reference"`` runs anywhere, in memory that does not grow with ``n``; ``"triton"`` needs a GPU, and no
            float64; ``"auto"`` takes the kernel where it can run. Asking for one by name never falls back.

    Returns:
        ``(n,)`` float32 whatever the predictions' precision is (float64 for float64); autocast changes nothing.

    Raises:
        TypeError: If an argument is of the wrong type or dtype.
        ValueError: If shapes or devices do not fit, the target lacks what it is made of, an option is unknown, or
            ``impl`` cannot do what is asked. On a GPU, a number in ``image`` that no image has makes that row NaN.
        RuntimeError: If the error is differentiated twice.

    Example:
        >>> keys = torch.arange(2)
        >>> noise_error(vl_core.noise.gaussian(keys, (3, 8, 8)) + 0.5, keys)
        tensor([0.2500, 0.2500])
    """
    check_choice("target", target, get_args(Target))
    check_choice("loss", loss, get_args(Loss))
    check_choice("impl", impl, get_args(Impl))
    check_floating("prediction", prediction)
    if prediction.ndim == 0:
        raise ValueError("prediction must have shape (rows, ...), got a single number")
    if not isinstance(delta, (int, float)) or not 0 < delta < float("inf"):
        raise ValueError(f"delta must be a positive number, got {delta!r}")
    rows, dtype = len(prediction), compute_dtype(prediction)
    keys = arguments.read_keys(keys, rows, prediction)
    clean = None if target == "epsilon" else arguments.read_x0(x0, prediction, target)
    images = None if clean is None else len(clean)
    weights = None if weight is None else arguments.read_weight(weight, images, prediction, dtype)
    if images is None and weights is not None and len(weights) != 1:
        images = len(weights)
    image = (
        None
        if images is None
        else arguments.read_image(image, rows, images, "weight" if clean is None else "x0", prediction)
    )
    levels: dict[str, Tensor | None] = {"alpha": None, "sigma": None, "scale": None}
    for name, level in (("alpha", alpha), ("sigma", sigma), ("scale", scale)):
        if name == "scale" or target == "v_prediction":
            if level is not None:
                levels[name] = arguments.read_level(name, level, rows, dtype, prediction)
            elif name != "scale":
                raise ValueError(f"{name} must be given for target='v_prediction'")
    inputs = NoiseErrorInputs(
        arguments.flat(prediction),
        keys,
        clean,
        image,
        **levels,
        weight=weights,
        target=target,
        loss=loss,
        delta=float(delta),
    )
    return ops.noise_error(inputs, _choose_implementation(impl, prediction, dtype))


def _choose_implementation(impl: Impl, images: Tensor, result: torch.dtype) -> Impl:
    obstacle = _triton_unsupported(images, result)
    if impl == "triton" and obstacle is not None:
        raise ValueError(f"impl='triton' cannot compute this: {obstacle}; impl='auto' chooses one that can")
    if impl == "auto":
        return "triton" if images.device.type == "cuda" and obstacle is None else "reference"
    return impl


def _triton_unsupported(images: Tensor, result: torch.dtype) -> str | None:
    """Reason why the kernels do not support these inputs, or None if they do."""
    if missing := triton_missing(images.device.type):
        return missing
    if unknown := [dtype for dtype in (images.dtype, result) if dtype not in _TRITON_DTYPES]:
        return f"it takes float16, bfloat16 and float32, not {unknown[0]}"
    if images.ndim and images[:1].numel() >= 2**31 - 2**12:
        return f"it takes images of fewer than 2**31 values, not {tuple(images.shape[1:])}"
    return None
