"""The installed distribution and the imported package are one and the same, and the package offers what it names."""

from importlib.metadata import version

import pytest
import vl_diffusion


def test_version_matches_the_installed_metadata():
    assert vl_diffusion.__version__ == version("vl-diffusion")


def test_every_public_name_is_there_and_no_other():
    for name in vl_diffusion.__all__:
        assert getattr(vl_diffusion, name) is not None
    assert set(vl_diffusion.__all__) <= set(dir(vl_diffusion))
    namespace: dict[str, object] = {}
    exec("from vl_diffusion import *", namespace)
    assert namespace.keys() - {"__builtins__"} == set(vl_diffusion.__all__)
    with pytest.raises(AttributeError, match="No vl_diffusion attribute Classifier"):
        vl_diffusion.Classifier  # noqa: B018
