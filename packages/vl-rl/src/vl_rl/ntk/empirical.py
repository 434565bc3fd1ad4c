"""The neural tangent kernel of a network as it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap


def empirical_ntk(module: nn.Module, x: Tensor, other: Tensor | None = None, *, chunk_size: int = 64) -> Tensor:
    """Neural tangent kernel of a network: products of its gradients, summed over all trained parameters.

    Jacot, Gabriel and Hongler, "Neural Tangent Kernel", NeurIPS 2018. For several outputs, the mean over outputs.

    Args:
        module: The network, which maps rows independently of one another.
        x: Inputs ``(N, ...)``.
        other: Inputs ``(M, ...)``; ``x`` itself if it is None.
        chunk_size: Number of inputs of each side whose gradients are held at once. Memory grows with it and not with
            N, while the gradients of ``other`` are computed anew for each chunk of ``x``; a large one is faster.

    Returns:
        The kernel ``(N, M)``.

    Raises:
        ValueError: If the network has no trained parameter, or there is no input.

    Example:
        >>> empirical_ntk(nn.Linear(2, 1, bias=False), torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    parameters = {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}
    fixed = {name: value.detach() for name, value in module.named_parameters() if not value.requires_grad}
    fixed |= {name: value.detach() for name, value in module.named_buffers()}
    if not parameters:
        raise ValueError("module must have a parameter that requires a gradient, got none; make one trainable")
    if not len(x):
        raise ValueError("x must have at least one input, got none")

    def outputs(weights: dict[str, Tensor], row: Tensor) -> Tensor:
        result: Tensor = functional_call(module, weights | fixed, (row[None],))
        return result[0].reshape(-1)

    gradients = vmap(jacrev(outputs), (None, 0))

    def rows(chunk: Tensor) -> Tensor:
        """Gradients ``(C, O, P)``."""
        return torch.cat([value.flatten(2) for value in gradients(parameters, chunk).values()], dim=2)

    first_chunks = torch.split(x, chunk_size)
    second_chunks = first_chunks if other is None else torch.split(other, chunk_size)
    blocks: list[list[Tensor]] = []
    for i, first_chunk in enumerate(first_chunks):
        first = rows(first_chunk)
        # The kernel of x with itself is symmetric.
        line = [blocks[j][i].T for j in range(i)] if other is None else []
        for j in range(len(line), len(second_chunks)):
            second = first if other is None and i == j else rows(second_chunks[j])
            line.append(torch.einsum("nop,mop->nm", first, second) / first.shape[1])
        blocks.append(line)
    return torch.cat([torch.cat(line, dim=1) for line in blocks])
