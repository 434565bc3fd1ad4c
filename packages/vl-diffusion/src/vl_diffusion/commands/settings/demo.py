"""The settings of `vl-diffusion demo`."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from vl_core.cli import Count, DeviceName, Groups, ImageSource, Metavar, Range, Seed, check_values
from vl_core.data import check_images, check_source

from vl_diffusion.checks import checked_classes
from vl_diffusion.classification.candidates import checked_templates
from vl_diffusion.commands.settings.class_names import class_names
from vl_diffusion.commands.settings.classifier import Precision, PromptTemplate
from vl_diffusion.commands.settings.model import ModelSettings


@dataclass(frozen=True, kw_only=True)
class Demo(ModelSettings):
    """Serve a web page: drop an image, edit the class names, and watch classes being eliminated.

    Requires `pip install 'vl-diffusion[demo]'`. The page makes no requests to other machines, and is reachable only
    from this machine unless --host is given. Stop it with Ctrl-C.
    """

    classes: tuple[str, ...] | None = None
    """Initial class names, or @FILE with one per line; default: the model's own."""

    examples: tuple[ImageSource, ...] | None = None
    """Image files, folders or data sets with examples, of which eight are shown; default: clothes for "fashion"."""

    draws: Count = 250
    """Maximum draws per class."""

    prompt_template: tuple[PromptTemplate, ...] = ("a photo of a {}.",)
    """For text-conditional models: one or several prompts with {} for the class name."""

    seed: Seed = 0
    """Seed of the noise."""

    batch_size: Count = 64
    """Evaluations per call of the network; results do not depend on it."""

    precision: Precision = "float32"
    """Precision of the network; the schedule and the errors are float32."""

    device: DeviceName = "auto"
    """"cpu", "cuda", ..., or "auto" for a GPU if available."""

    host: Annotated[str, Metavar("ADDRESS")] = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for access from other machines."""

    port: Annotated[int, Range(1, 65535)] | None = None
    """Port to listen on; default: the first free one from 7860."""

    browser: bool = False
    """Open the page in the web browser."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("classes", "examples"),
        "Model": ("model", "variant", "model_config", "timestep_embedding", "image_size", "prompt_template"),
        "Search": ("draws",),
        "Page": ("host", "port", "browser"),
        "Runtime": ("seed", "batch_size", "precision", "device"),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {"spec": "examples", "config": "model_config"}

    def check(self) -> None:
        """Check what needs neither the model nor the images.

        Raises:
            ValueError: If a setting is out of range.
            OSError: If a file is missing.
        """
        check_values(self)
        self.check_model()
        checked_templates(self.prompt_template)
        if (classes := class_names(self.classes)) is not None:
            checked_classes(classes)
        for spec in self.examples or ():
            check_source(spec, "--examples")

    def check_input(self) -> None:
        """Check what can be seen of the examples and of the address without a model.

        Raises:
            OSError: If the page cannot be served at the address.
            ValueError: If no example can be read.
        """
        check_images(self.examples or (), "--examples")
        check_address(self.host, self.port)


def check_address(host: str, port: int | None) -> None:
    """Check that a server can listen at an address; without a port, at any.

    Raises:
        OSError: If it cannot; the message names the option.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise OSError(f"--host must be an address of this machine, got {host!r}: {error.strerror}") from error
    with socket.socket(family, kind, protocol) as server:
        # As servers do, so that one that has just ended is not in the way.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(address)
        except OSError as error:
            option = "--host" if error.errno == errno.EADDRNOTAVAIL or port is None else "--port"
            what = f"{host} port {port}" if port else host
            raise OSError(f"{option} must be free to listen on, got {what}: {error.strerror}") from error
