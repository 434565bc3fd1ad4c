"""Compiles kernels for GPUs that are not there, and reads from the binaries what they take.

A launcher is run with the kernels replaced by recorders; what it would have launched, with these very tiles and
options, is then compiled for a target.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import ModuleType
from typing import Any

import pytest
import torch

TARGETS = {
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "sm_100": ("cuda", 100, 32),
    "gfx942": ("hip", "gfx942", 64),
}
SHARED_BYTES = {"sm_80": 163 << 10, "sm_90": 227 << 10, "sm_100": 227 << 10, "gfx942": 64 << 10}
"""Bytes that a program can have, of shared memory (NVIDIA) or local data share (AMD)."""
REGISTERS = {"sm_80": 255, "sm_90": 255, "sm_100": 255, "gfx942": 512}

_TYPES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.uint8: "u8",
    torch.bool: "i1",
}
_OPTIONS = ("num_warps", "num_stages")


@dataclass(frozen=True)
class Launch:
    """A kernel and what it was called with."""

    kernel: Any
    arguments: tuple[Any, ...]
    constants: dict[str, Any]


@dataclass(frozen=True)
class Binary:
    """Resources that a compiled kernel takes of the chip, for each thread and program."""

    name: str
    registers: int
    spilled_bytes: int
    shared_bytes: int
    assembly: str


@contextmanager
def recorded(module: ModuleType) -> Iterator[list[Launch]]:
    """Within this context, launches of the module's kernels are noted down and not done."""
    launches: list[Launch] = []

    class Recorder:
        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: Any) -> Callable[..., None]:
            return lambda *arguments, **constants: launches.append(Launch(self.kernel, arguments, constants))

    with pytest.MonkeyPatch.context() as patch:
        for name, value in vars(module).items():
            if not name.startswith("_") and hasattr(value, "arg_names"):
                patch.setattr(module, name, Recorder(value))
        yield launches


def compile_for(target: str, launch: Launch) -> Binary:
    """Compile what was launched for a target."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature: dict[str, Any] = {}
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}

    def type_of(value: Any, place: tuple[int, ...], is_constant: bool) -> Any:
        if isinstance(value, tuple):
            return tuple(type_of(element, (*place, i), is_constant) for i, element in enumerate(value))
        if is_constant or value is None or (isinstance(value, int) and value == 1):
            constants[place] = value
            return "constexpr"
        if isinstance(value, torch.Tensor) or value % 16 == 0:
            attributes[place] = [["tt.divisibility", 16]]  # as the launcher finds in real memory
        if isinstance(value, torch.Tensor):
            return "*" + _TYPES[value.dtype]
        return "fp32" if isinstance(value, float) else "i32"

    options = {name: launch.constants[name] for name in _OPTIONS if name in launch.constants}
    given = dict(zip(launch.kernel.arg_names, launch.arguments, strict=False))
    given |= {name: value for name, value in launch.constants.items() if name not in _OPTIONS}
    for place, name in enumerate(launch.kernel.arg_names):
        signature[name] = type_of(given[name], (place,), name in launch.constants)
    compiled = triton.compile(
        ASTSource(launch.kernel, signature, constants, attributes),
        target=GPUTarget(*TARGETS[target]),
        options=options,
    )
    name = launch.kernel.__name__
    if target.startswith("gfx"):
        return _read_amd(name, compiled)
    return _read_nvidia(name, compiled)


def check(target: str, launch: Launch, most_spilled: int) -> None:
    """Compile what was launched, print what it takes, and fail if that is more than the target has."""
    binary = compile_for(target, launch)
    print(
        f"{target} {binary.name}: {binary.registers} registers, {binary.spilled_bytes} bytes spilled, "
        f"{binary.shared_bytes / 1024:.0f} KiB shared"
    )
    assert binary.registers <= REGISTERS[target]
    assert binary.shared_bytes <= SHARED_BYTES[target]
    assert binary.spilled_bytes <= most_spilled
    assert ".f64" not in binary.assembly
    assert "_f64" not in binary.assembly


def _read_nvidia(name: str, compiled: Any) -> Binary:
    import triton.backends.nvidia

    tool = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"
    with NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(compiled.asm["cubin"])
        usage = subprocess.run([tool, "-res-usage", file.name], check=True, capture_output=True, text=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", usage)
    assert found, usage
    registers, stack, _, local = map(int, found.groups())
    return Binary(name, registers, stack + local, compiled.metadata.shared, compiled.asm["ptx"])


def _read_amd(name: str, compiled: Any) -> Binary:
    text = compiled.asm["amdgcn"]

    def note(field: str) -> int:
        found = re.search(rf"\.{field}:\s+(\d+)", text)
        assert found, field
        return int(found[1])

    return Binary(name, note("vgpr_count"), 4 * note("vgpr_spill_count"), compiled.metadata.shared, text)
