"""Imports between packages, between the rooms of a package, and of dependencies.

Every import statement below `packages/*/src` is read, not run, together with `import_module("…")` of a literal name.
An import at the top of a file runs when somebody imports the package, so it must be a dependency; an import inside a
function, or for type checkers alone, may also be one of the package's extras. Between rooms, all imports count alike.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from workspace import ROOT, Package, read_packages

PACKAGES = read_packages()
ARROWS = {
    "vl-core": frozenset[str](),
    "vl-attention": frozenset({"vl-core"}),
    "vl-density": frozenset({"vl-core"}),
    "vl-diffusion": frozenset({"vl-core"}),
    "vl-explorer": frozenset({"vl-core", "vl-ssl"}),
    "vl-rl": frozenset({"vl-core"}),
    "vl-ssl": frozenset({"vl-core"}),
    "vl-vlm": frozenset({"vl-core"}),
}
"""The siblings that a package may use; no other arrow exists. A new arrow is a decision, made here."""
ROOMS = {
    "vl-core": (
        *("_atomic", "_extras", "files", "progress", "noise", "tables", "results", "intervals", "runs"),
        *("devices", "data", "corruptions", "features", "kernels", "charts", "training", "cli"),
    ),
    "vl-attention": (
        *("models", "attention", "transfer", "classifiers", "analysis"),
        *("training", "comparison", "charts", "commands", "cli"),
    ),
    "vl-diffusion": (
        *("checks", "models", "scoring", "search", "classification", "adaptation"),
        *("runs", "charts", "studies", "demo", "commands", "cli"),
    ),
    "vl-density": (
        *("quantization", "heads", "models", "ood", "datasets", "training", "toy", "translation"),
        *("charts", "commands", "cli"),
    ),
    "vl-explorer": (
        *("vocabulary", "embeddings", "search", "web", "store", "models", "rewards"),
        *("worlds", "learning", "exploring", "charts", "page", "commands", "cli"),
    ),
    "vl-rl": (
        *("common", "fourier", "ntk", "hindsight", "hippo", "envs"),
        *("zoo", "training", "charts", "commands", "cli"),
    ),
    "vl-ssl": (
        *("collapse", "schedules", "augmentation", "backbones", "methods", "optimizers"),
        *("probes", "forecast", "training", "charts", "commands", "cli"),
    ),
    "vl-vlm": (
        *("losses", "captions", "scenes", "models", "evaluation", "training"),
        *("charts", "commands", "cli"),
    ),
}
"""The folders and modules at the root of each package that holds code, from the bottom up.

A room imports only rooms that come before it; every room of a package has its place here. The page `docs/contents.md`
of each package draws the same order; vl-core has none.
"""
MAX_ROOT_MODULES = 8
"""Modules at the root of a package, files whose names begin with two underscores not counted."""
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "faiss": "faiss-cpu",
    "open_clip": "open-clip-torch",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Import names that differ from their distribution's by more than `_` for `-`."""


class Import(NamedTuple):
    """One import in a source file."""

    line: int
    name: str
    """Top-level module."""
    eager: bool
    """True if it runs when the file is imported."""


def imports(source: str) -> Iterator[Import]:
    """Every absolute import of a file, by line."""
    todo: list[tuple[ast.AST, bool]] = [(node, True) for node in ast.parse(source).body]
    while todo:
        node, eager = todo.pop(0)
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name.split(".")[0], eager) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield Import(node.lineno, node.module.split(".")[0], eager)
        elif isinstance(node, ast.Call) and (name := _imported_by_call(node)):
            yield Import(node.lineno, name.split(".")[0], eager)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            todo += [(child, False) for child in node.body] + [(child, eager) for child in node.orelse]
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            todo += [(child, eager and not inside) for child in ast.iter_child_nodes(node)]


def _imported_by_call(node: ast.Call) -> str:
    """Give the literal name that `import_module("…")` or `__import__("…")` imports; empty for any other call."""
    called = re.search(r"\b(import_module|__import__)$", ast.unparse(node.func))
    first = node.args[0] if node.args else None
    return first.value if called and isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def problems(
    source: str, package: Package, packages: Mapping[str, Package], arrows: Mapping[str, frozenset[str]]
) -> list[str]:
    """Say which imports of a file in `package` no arrow allows, or no dependency declares."""
    found = []
    for line, name, eager in sorted(imports(source)):
        if name in sys.stdlib_module_names or name == package.module:
            continue
        wanted = DISTRIBUTIONS.get(name, name.replace("_", "-").lower())
        if wanted in packages and wanted not in arrows[package.name]:
            found.append(f"line {line}: {package.module} must not import {name}")
        elif wanted in package.required or (not eager and wanted in package.optional):
            continue
        elif wanted in package.optional:
            found.append(f"line {line}: {name} is only in an extra of {package.name}; import it where it is used")
        else:
            found.append(f"line {line}: {name} is imported, but {wanted} is no dependency of {package.name}")
    return found


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_package_imports_only_what_it_may_and_declares(package: Package) -> None:
    files = sorted((package.folder / "src").rglob("*.py"))
    assert files
    assert [
        f"{file.relative_to(ROOT)}, {problem}"
        for file in files
        for problem in problems(file.read_text(encoding="utf-8"), package, PACKAGES, ARROWS)
    ] == []


def test_arrows_name_every_package_and_no_other() -> None:
    assert ARROWS.keys() == PACKAGES.keys()
    assert frozenset().union(*ARROWS.values()) <= PACKAGES.keys()


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_declared_siblings_are_allowed_ones(package: Package) -> None:
    assert (package.required | package.optional) & PACKAGES.keys() <= ARROWS[package.name]


def _rooms_on_disk(package: Package) -> set[str]:
    """Name every module, and every folder with Python files, at the root of a package."""
    root = package.folder / "src" / package.module
    modules = {file.stem for file in root.glob("*.py") if not file.name.startswith("__")}
    return modules | {folder.name for folder in root.iterdir() if folder.is_dir() and any(folder.rglob("*.py"))}


def _imported_names(node: ast.AST, path: tuple[str, ...]) -> list[str]:
    """Full names that a statement or call imports in a file of the package `path`; none for any other node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = [".".join(path[: len(path) - node.level + 1])] if node.level else []
        base += [node.module] if node.module else []
        return [".".join([*base, alias.name]) for alias in node.names]
    return [_imported_by_call(node)] if isinstance(node, ast.Call) else []


def room_problems(
    source: str, room: str, module: str, rooms: tuple[str, ...], folder: tuple[str, ...] = ()
) -> list[str]:
    """Say which imports of a file go to a room above its own, to private names of another, or to the public names.

    Args:
        source: The file's content.
        room: The room that the file belongs to.
        module: The package's import name.
        rooms: Its rooms, from the bottom up.
        folder: The folders that lead from the package's root to the file.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        names = _imported_names(node, (module, *folder))
        for name in names:
            package, _, rest = name.partition(".")
            target, *inner = rest.split(".")
            if package != module or target == room or target.startswith("__"):
                continue
            if target not in rooms:
                found.append(f"line {node.lineno}: import {name} from the room that defines it")
            elif rooms.index(target) > rooms.index(room):
                found.append(f"line {node.lineno}: {room} must not import {target}, which is above it")
            elif any(part.startswith("_") for part in inner):
                found.append(f"line {node.lineno}: {name} is private to {target}")
    return found


@pytest.mark.parametrize("name", [name for name in PACKAGES if name in ROOMS])
def test_rooms_import_only_rooms_below(name: str) -> None:
    package = PACKAGES[name]
    root = package.folder / "src" / package.module
    assert _rooms_on_disk(package) == set(ROOMS[name])
    found = []
    for file in sorted(root.rglob("*.py")):
        *folder, _ = file.relative_to(root).parts
        room = folder[0] if folder else file.stem
        if room in ROOMS[name]:
            source = file.read_text(encoding="utf-8")
            problems = room_problems(source, room, package.module, ROOMS[name], tuple(folder))
            found += [f"{file.relative_to(ROOT)}, {problem}" for problem in problems]
    assert found == []


def test_every_package_with_code_has_rooms() -> None:
    assert {name for name, package in PACKAGES.items() if _rooms_on_disk(package)} == ROOMS.keys()


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_no_command_imports_another(package: Package) -> None:
    folder = package.folder / "src" / package.module / "commands"
    commands = {file.stem for file in folder.glob("*.py") if not file.name.startswith("_")}
    found = []
    for file in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for name in _imported_names(node, (package.module, "commands")):
                module, room, command, *_ = [*name.split("."), "", ""]
                if (module, room) == (package.module, "commands") and command in commands - {file.stem}:
                    found.append(f"{file.relative_to(ROOT)}, line {node.lineno}: import {name} from a private module")
    assert found == []


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_few_modules_at_the_root_of_a_package(package: Package) -> None:
    modules = (package.folder / "src" / package.module).glob("*.py")
    names = sorted(file.name for file in modules if not file.name.startswith("__"))
    assert len(names) <= MAX_ROOT_MODULES, names


@pytest.mark.parametrize("name", [name for name in ROOMS if name != "vl-core"])
def test_contents_draw_the_rooms_in_order(name: str) -> None:
    page = (PACKAGES[name].folder / "docs/contents.md").read_text(encoding="utf-8")
    drawing = page.partition("## How it is laid out")[2].partition("```text")[2].partition("```")[0]
    drawn = re.findall(r"^(\w+)", drawing, re.MULTILINE)
    assert drawn == list(reversed(ROOMS[name]))


# ---- The checker itself ----

EXAMPLE = {
    "vl-core": Package("vl-core", Path(), ("torch>=2", "pillow>=11"), {"parquet": ("pyarrow>=18",)}),
    "vl-ssl": Package("vl-ssl", Path(), ("vl-core==1",), {}),
    "vl-vlm": Package("vl-vlm", Path(), ("torch>=2",), {}),
}
EXAMPLE_ARROWS = {
    "vl-core": frozenset[str](),
    "vl-ssl": frozenset({"vl-core"}),
    "vl-vlm": frozenset({"vl-core"}),
}


@pytest.mark.parametrize(
    ("package", "source", "expected"),
    [
        ("vl-ssl", "import vl_core.noise\nfrom vl_core import runs\nfrom . import x\nfrom .vl_vlm import y", []),
        ("vl-core", "import torch, json\nfrom PIL import Image\nimport vl_core.runs", []),
        ("vl-core", "def read():\n    import pyarrow.parquet", []),
        ("vl-core", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pyarrow", []),
        ("vl-core", "import vl_ssl", ["line 1: vl_core must not import vl_ssl"]),
        ("vl-core", "def f():\n    from vl_ssl.x import y", ["line 2: vl_core must not import vl_ssl"]),
        ("vl-ssl", "if TYPE_CHECKING:\n    import vl_vlm", ["line 2: vl_ssl must not import vl_vlm"]),
        ("vl-ssl", "x = importlib.import_module('vl_vlm.y')", ["line 1: vl_ssl must not import vl_vlm"]),
        ("vl-vlm", "import vl_core", ["line 1: vl_core is imported, but vl-core is no dependency of vl-vlm"]),
        ("vl-core", "import pyarrow", ["line 1: pyarrow is only in an extra of vl-core; import it where it is used"]),
        ("vl-ssl", "def f():\n    import timm", ["line 2: timm is imported, but timm is no dependency of vl-ssl"]),
        (
            "vl-core",
            "try:\n    import skimage\nexcept ImportError:\n    skimage = None",
            ["line 2: skimage is imported, but skimage is no dependency of vl-core"],
        ),
        (
            "vl-core",
            "if TYPE_CHECKING:\n    import pyarrow\nelse:\n    import pyarrow as p",
            ["line 4: pyarrow is only in an extra of vl-core; import it where it is used"],
        ),
        (
            "vl-core",
            "class A:\n    import vl_vlm\n\n\nimport timm",
            [
                "line 2: vl_core must not import vl_vlm",
                "line 5: timm is imported, but timm is no dependency of vl-core",
            ],
        ),
    ],
)
def test_checker_sees_what_is_wrong_and_only_that(package: str, source: str, expected: list[str]) -> None:
    assert problems(source, EXAMPLE[package], EXAMPLE, EXAMPLE_ARROWS) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from vl_ssl.models.vit import ViT\nimport vl_ssl.checks\nimport vl_core.runs\nimport torch", []),
        ("from vl_ssl.search import tree\nfrom vl_ssl.search.tree import Node\nfrom .tree import Node", []),
        ("from vl_ssl.__about__ import __version__\nfrom vl_ssl import models", []),
        ("from vl_ssl.commands import run", ["line 1: search must not import commands, which is above it"]),
        ("from vl_ssl import commands", ["line 1: search must not import commands, which is above it"]),
        ("from ..commands import run", ["line 1: search must not import commands, which is above it"]),
        ("from .. import commands", ["line 1: search must not import commands, which is above it"]),
        ("def f():\n    import vl_ssl.commands.x", ["line 2: search must not import commands, which is above it"]),
        (
            "if TYPE_CHECKING:\n    import vl_ssl.commands",
            ["line 2: search must not import commands, which is above it"],
        ),
        ("import_module('vl_ssl.commands')", ["line 1: search must not import commands, which is above it"]),
        ("from vl_ssl.models._vit import ViT", ["line 1: vl_ssl.models._vit.ViT is private to models"]),
        ("from vl_ssl.models.vit import _pool", ["line 1: vl_ssl.models.vit._pool is private to models"]),
        ("from vl_ssl import SimSiam", ["line 1: import vl_ssl.SimSiam from the room that defines it"]),
    ],
)
def test_checker_sees_imports_of_rooms_above(source: str, expected: list[str]) -> None:
    rooms = ("checks", "models", "search", "commands")
    assert room_problems(source, "search", "vl_ssl", rooms, ("search",)) == expected
