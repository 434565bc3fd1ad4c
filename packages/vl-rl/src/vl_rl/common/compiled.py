"""Models with compiled parts, saved under the names of those that are not compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.save_util import load_from_zip_file, recursive_getattr
from torch import nn

_COMPILED = "_orig_mod."


class PlainNames:
    """Mixin of an algorithm of stable-baselines3: names in saved models do not tell which parts were compiled.

    It stands before the algorithm among the bases. stable-baselines3 does this for a policy that was compiled as a
    whole; here any part may be, such as ``model.policy.actor.latent_pi = torch.compile(...)``.
    """

    def get_parameters(self) -> dict[str, dict[str, Any]]:
        """Parameters of the networks and states of the optimizers, under plain names."""
        found = super().get_parameters()  # type: ignore[misc]
        return {
            name: {str(key).replace(_COMPILED, ""): value for key, value in values.items()}
            for name, values in found.items()
        }

    def set_parameters(self, load_path_or_dict: Any, exact_match: bool = True, device: Any = "auto") -> None:
        """Take parameters under plain names, from a file or as `get_parameters` gives them."""
        given = load_path_or_dict
        if not isinstance(given, Mapping):
            _, given, _ = load_from_zip_file(load_path_or_dict, device=device, load_data=False)
        translated = {}
        for name, values in given.items():
            part = recursive_getattr(self, name, None)
            part = getattr(part, "_orig_mod", part)
            own = {key.replace(_COMPILED, ""): key for key in part.state_dict()} if isinstance(part, nn.Module) else {}
            translated[name] = {own.get(key, key): value for key, value in values.items()}
        super().set_parameters(translated, exact_match=exact_match, device=device)  # type: ignore[misc]
