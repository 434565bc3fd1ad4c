"""Batch normalization whose statistics are those of all ranks, on CPUs too.

Siamese methods depend on batch statistics, so two ranks with half the batch are one process with all of it only if
the ranks share them. `torch.nn.SyncBatchNorm` needs an accelerator; here the sums travel by differentiable all-reduces
on a CPU, and elsewhere PyTorch's own does the work.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from timm.layers import BatchNormAct2d, SyncBatchNormAct
from torch import Tensor, nn

from vl_ssl.methods.distributed import sum_over_ranks, world_size

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def synchronize_batch_norm(module: AnyModule) -> AnyModule:
    """Let every batch normalization of a module use the statistics of all ranks; changes the module in place.

    Parameters, buffers and names stay, so optimizers and checkpoints are not touched; only the layers' classes change.
    In evaluation, and without `torch.distributed` initialized, the layers compute what they did. Ranks may have batches
    of different sizes.

    Args:
        module: With ``BatchNorm1d``, ``BatchNorm2d`` or ``BatchNorm3d``, or timm's ``BatchNormAct2d``, anywhere in it.

    Returns:
        The same module.

    Raises:
        TypeError: If it holds another kind of batch normalization, which would keep statistics of its own.

    Example:
        >>> layer = synchronize_batch_norm(nn.BatchNorm1d(3))
        >>> torch.equal(layer(torch.eye(3)), nn.BatchNorm1d(3)(torch.eye(3)))
        True
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    for layer in layers:
        if type(layer) not in _KINDS and not isinstance(layer, _Synchronized | nn.SyncBatchNorm):
            raise TypeError(
                f"module must hold batch normalization of {[kind.__name__ for kind in _KINDS]}, got "
                f"{type(layer).__name__}; replace it before"
            )
    for layer in layers:
        _become(layer, _KINDS)
    return module


def plain_batch_norm(module: AnyModule) -> AnyModule:
    """Undo `synchronize_batch_norm` in place, and the conversions of PyTorch and timm; other modules stay as they are.

    PyTorch's ``SyncBatchNorm`` does not know what it was made from, and becomes ``BatchNorm2d``.

    Args:
        module: Any module.

    Returns:
        The same module.

    Example:
        >>> type(plain_batch_norm(synchronize_batch_norm(nn.BatchNorm1d(3)))).__name__
        'BatchNorm1d'
    """
    for layer in module.modules():
        if type(layer) in (nn.SyncBatchNorm, SyncBatchNormAct):
            del layer.process_group
        _become(layer, _PLAIN)
    return module


def _become(layer: nn.Module, kinds: dict[type[nn.Module], type[nn.Module]]) -> None:
    # Layers of the same attributes; a new object would cost whatever holds the old one, such as hooks.
    layer.__class__ = kinds.get(type(layer), type(layer))


class _Synchronized(nn.modules.batchnorm._BatchNorm):
    """Statistics over all ranks; made from a plain layer by changing its class.

    No ``SyncBatchNorm``, since DistributedDataParallel refuses a model on a CPU that holds one.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize ``(B, C, ...)`` by the statistics of all ranks."""
        if not self.training or world_size() == 1:
            return nn.modules.batchnorm._BatchNorm.forward(self, input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        return self._normalize(input) if input.device.type == "cpu" else self._accelerated(input)

    def _accelerated(self, x: Tensor) -> Tensor:
        # A layer of PyTorch's over the same parameters and buffers.
        twin = nn.SyncBatchNorm.__new__(nn.SyncBatchNorm)
        twin.__dict__ = {**self.__dict__, "process_group": None}
        return twin.forward(x)

    def _normalize(self, x: Tensor) -> Tensor:
        others = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        wide = x if x.dtype == torch.float64 else x.float()
        sums = wide.sum(others)
        totals = sum_over_ranks(torch.cat([sums, sums.new_tensor([x.numel() / x.shape[1]])]))
        count = totals[-1].detach()
        mean = totals[:-1] / count
        centered = wide - mean.view(shape)
        # A second sum, since the difference of two moments of a batch far from zero would lose its digits.
        variance = sum_over_ranks(centered.square().sum(others)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        normal = centered * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class _Synchronized1d(_Synchronized, nn.BatchNorm1d):
    """Synchronized ``BatchNorm1d``."""


class _Synchronized2d(_Synchronized, nn.BatchNorm2d):
    """Synchronized ``BatchNorm2d``."""


class _Synchronized3d(_Synchronized, nn.BatchNorm3d):
    """Synchronized ``BatchNorm3d``."""


class _SynchronizedAct2d(_Synchronized, BatchNormAct2d):  # type: ignore[misc]
    """Synchronized ``BatchNormAct2d``, with the activation that timm puts behind it."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize and activate ``(B, C, H, W)``."""
        return self.act(self.drop(super().forward(input)))  # type: ignore[no-any-return, operator]


_KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _Synchronized1d,
    nn.BatchNorm2d: _Synchronized2d,
    nn.BatchNorm3d: _Synchronized3d,
    BatchNormAct2d: _SynchronizedAct2d,
}
_PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    **{synchronized: kind for kind, synchronized in _KINDS.items()},
    nn.SyncBatchNorm: nn.BatchNorm2d,
    SyncBatchNormAct: BatchNormAct2d,
}
