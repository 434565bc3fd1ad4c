"""A process that has imported everything, and starts each command that it reads in a copy of itself.

For tests that kill commands: starting one takes no seconds of imports. It reads a line of JSON a command and answers
with the process id at once and the exit status at the end. The settings of a command:

- ``arguments``: the command line;
- ``said``: the file for what it prints;
- ``seconds``: how long a call of the network takes more than it does;
- ``largest_file``: in bytes; writing beyond it fails as on a full disk.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from importlib import import_module
from typing import Any

import torch
from vl_diffusion.cli import main
from vl_diffusion.models.families.class_conditional import ClassConditionalDenoiser


def slow_down(seconds: float) -> None:
    """Make every call of the network take longer."""
    predict = ClassConditionalDenoiser.predict

    def slowly(self: Any, *given: Any) -> Any:
        time.sleep(seconds)
        return predict(self, *given)

    ClassConditionalDenoiser.predict = slowly


def run(command: dict[str, Any]) -> int:
    """Run a command in the copy."""
    slow_down(command.get("seconds", 0.0))
    if largest := command.get("largest_file"):
        # Without the signal, which would kill the process, writing fails with an error.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    return main(command["arguments"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    # What the command imports, and what that imports when it is first used.
    for name in ("vl_diffusion.commands.compare_search", "diffusers.models.transformers.dit_transformer_2d"):
        import_module(name)
    for name in ("diffusers.schedulers.scheduling_ddpm", "matplotlib.backends.backend_agg", "pyarrow.parquet"):
        import_module(name)
    for line in sys.stdin:
        if not (pid := os.fork()):
            command = json.loads(line)
            said = os.open(command["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            status = run(command)
            sys.stdout.flush()
            os._exit(status)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
