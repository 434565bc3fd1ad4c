"""The installed distribution and the imported package are one and the same, and the package offers what it names."""

import subprocess
import sys
from dataclasses import is_dataclass
from importlib import import_module
from importlib.metadata import version

import pytest
import vl_diffusion
from vl_diffusion.cli import COMMANDS


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


def test_the_command_begins_before_the_heavy_imports():
    program = (
        "import sys, vl_diffusion; dir(vl_diffusion); from vl_diffusion.cli import main; main(['--help']); "
        "main(['--version']); sys.exit(', '.join({'torch', 'matplotlib', 'tyro'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"vl-diffusion {vl_diffusion.__version__}" in done.stdout


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_has_settings_and_a_run_function(command):
    module = import_module(command.module)
    assert is_dataclass(getattr(module, command.settings))
    assert callable(module.run)
