"""Releases of a small workspace made in a temporary folder, and of a copy of this one."""

import datetime
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import release
from packaging.version import Version
from workspace import ROOT, read_packages

SCRIPT = ROOT / "tools/release.py"
DATE = datetime.date(2026, 12, 24)
CORE = """\
[project]
name = "vl-core"
dependencies = ["torch>=2.9"]
"""
TOP = """\
# Comments and odd spacing survive.
[project]
name    = "vl-top"
dependencies = [
  "vl-core==0.2.0.dev0",   # the floor of everything
  'Vl_Core[parquet] == 0.2.0.dev0 ; python_version < "3.13"',
  "torch>=2.9", # not ours
]

[project.optional-dependencies]
more = ["vl-core[huggingface]==0.2.0.dev0; sys_platform == 'linux'", "other==0.2.0.dev0"]
"""
CHANGELOG = "# Changelog\n\n<!-- releases, newest first -->\n\n## 0.1.0 (2026-01-01)\n\n### vl-core\n\n- Added: all.\n"


def git(root: Path, *arguments: str) -> str:
    return subprocess.check_output(["git", "-C", str(root), *arguments], text=True, stderr=subprocess.STDOUT).strip()


def commit_all(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "change")


def new_repository(root: Path) -> None:
    git(root, "init", "--quiet", "--initial-branch=main", "--template=")
    for key, value in {
        "user.name": "n",
        "user.email": "e@example.org",
        "commit.gpgSign": "false",
        "tag.gpgSign": "false",
    }.items():
        git(root, "config", key, value)
    commit_all(root)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean repository of two packages at 0.2.0.dev0 with three changes to tell."""
    folder = tmp_path_factory.mktemp("template")
    for name, pyproject in {"vl-core": CORE, "vl-top": TOP}.items():
        source = folder / "packages" / name / "src" / name.replace("-", "_")
        source.mkdir(parents=True)
        (source / "__about__.py").write_text('"""One version."""\n\n__version__ = "0.2.0.dev0"\n')
        (source.parents[1] / "pyproject.toml").write_text(pyproject)
    (folder / "CHANGELOG.md").write_text(CHANGELOG)
    (folder / "changelog.d").mkdir()
    for name, text in {
        "README.md": "How to.\n",
        "7.vl-top.fixed.md": "A thing\nworks.\n",
        "12.vl.changed.md": "All need more.\n",
        "3.vl-top.added.md": "A new thing.\n",
    }.items():
        (folder / "changelog.d" / name).write_text(text)
    new_repository(folder)
    return folder


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    """A copy of the template, to do with as one likes."""
    return shutil.copytree(template, tmp_path / "repository", symlinks=True)


def add_hook(root: Path, name: str, script: str) -> None:
    hook = root / ".git/hooks" / name
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


def state(root: Path) -> dict[str, object]:
    """Everything that a release may change: files, commit and tags."""
    files = {p: p.read_bytes() for p in root.rglob("*") if p.is_file() and ".git" not in p.relative_to(root).parts}
    return {
        "files": files,
        "head": git(root, "rev-parse", "HEAD"),
        "tags": git(root, "tag"),
        "status": git(root, "status", "--porcelain"),
    }


def run(root: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = release.main(["--root", str(root), *arguments])
    return status, *capsys.readouterr()


# ---- make ----


def test_make_writes_one_version_everywhere_and_changes_nothing_else(root: Path) -> None:
    release.make(root, "0.2.0", date=DATE)

    for package in read_packages(root).values():
        assert package.about.read_text() == '"""One version."""\n\n__version__ = "0.2.0"\n'
    assert (root / "packages/vl-core/pyproject.toml").read_text() == CORE
    expected = TOP.replace("0.2.0.dev0", "0.2.0").replace("other==0.2.0", "other==0.2.0.dev0")
    literal, basic = (
        f"{quote}Vl_Core[parquet] == 0.2.0 ; python_version < {inner}3.13{inner}{quote}"
        for quote, inner in (("'", '"'), ('"', r"\""))
    )
    written = (root / "packages/vl-top/pyproject.toml").read_text()
    assert written == expected.replace(literal, basic)  # the same string, quoted in the other way


def test_make_folds_the_changes_by_package_and_type_above_older_releases(root: Path) -> None:
    release.make(root, "0.2.0", date=DATE)

    assert (root / "CHANGELOG.md").read_text() == CHANGELOG.replace(
        "## 0.1.0",
        "## 0.2.0 (2026-12-24)\n\n### vl\n\n- Changed: All need more.\n\n"
        "### vl-top\n\n- Added: A new thing.\n- Fixed: A thing works.\n\n## 0.1.0",
    )
    assert [path.name for path in (root / "changelog.d").iterdir()] == ["README.md"]


def test_make_commits_and_tags_and_check_agrees(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(root, "make", "0.2.0", capsys=capsys)
    assert status == 0
    assert "make 0.3.0.dev0" in out
    assert git(root, "log", "--format=%s", "-1") == "Release 0.2.0"
    assert git(root, "rev-parse", "v0.2.0^{commit}") == git(root, "rev-parse", "HEAD")
    assert git(root, "cat-file", "-t", "v0.2.0") == "tag"

    status, out, _ = run(root, "check", "v0.2.0", capsys=capsys)
    assert (status, out) == (0, "v0.2.0: 2 packages at one version, every pin equal to it, tree clean\n")


def test_the_next_development_version_has_no_section_and_no_tag(root: Path) -> None:
    release.make(root, "0.2.0", date=DATE)
    changelog = (root / "CHANGELOG.md").read_text()
    release.make(root, "0.3.0.dev0", date=DATE)

    assert (root / "CHANGELOG.md").read_text() == changelog
    assert git(root, "tag") == "v0.2.0"
    assert git(root, "log", "--format=%s", "-1") == "Begin 0.3.0.dev0"
    assert release.check(root, "v0.3.0.dev0") == []


def test_no_git_only_writes(root: Path) -> None:
    before = state(root)
    release.make(root, "0.2.0", date=DATE, git=False)
    after = state(root)
    assert (after["head"], after["tags"]) == (before["head"], "")
    assert release.version_problems(root, "0.2.0") == []


def test_a_copy_of_this_repository_can_be_released(tmp_path: Path) -> None:
    for package in read_packages(ROOT).values():
        copy = tmp_path / "packages" / package.name
        (copy / "src" / package.module).mkdir(parents=True)
        shutil.copy(package.pyproject, copy)
        shutil.copy(package.about, copy / "src" / package.module)
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    shutil.copytree(ROOT / "changelog.d", tmp_path / "changelog.d")
    (tmp_path / "changelog.d/test.vl.added.md").write_text("Something to tell.\n")
    new_repository(tmp_path)
    current = Version(release.written_version(read_packages(tmp_path)["vl-core"]))
    following = f"{current.major}.{current.minor + 1}.0"

    release.make(tmp_path, following, date=DATE)

    assert release.check(tmp_path, f"v{following}") == []


# ---- make refuses ----


@pytest.mark.parametrize("version", ["0.3", "v0.3.0", "0.3.0rc1", "0.3.0.dev", "0.03.0", "0.3.0+local", "", "next"])
def test_a_malformed_version_is_refused(version: str) -> None:
    with pytest.raises(release.ReleaseError, match=r"must be X\.Y\.Z"):
        release.parse_version(version)


@pytest.mark.parametrize("version", ["0.1.9", "0.2.0.dev0"])
def test_a_version_that_is_not_greater_is_refused(root: Path, version: str) -> None:
    with pytest.raises(release.ReleaseError, match=r"must be greater than 0\.2\.0\.dev0"):
        release.make(root, version, date=DATE)


@pytest.mark.parametrize("path", ["CHANGELOG.md", "untracked.txt"])
def test_a_tree_that_is_not_committed_is_refused_and_the_file_named(root: Path, path: str) -> None:
    (root / path).write_text("changed")
    with pytest.raises(release.ReleaseError, match=path):
        release.make(root, "0.2.0", date=DATE)


def test_a_version_that_was_tagged_is_refused(root: Path) -> None:
    git(root, "tag", "v0.2.0")
    with pytest.raises(release.ReleaseError, match=r"tag v0\.2\.0 exists"):
        release.make(root, "0.2.0", date=DATE)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("9.vl-top.md", "x", "expected a name like"),
        ("9.vl-top.fixed.txt", "x", "expected a name like"),
        ("Nine_.vl-top.fixed.md", "x", "expected a name like"),
        ("9.vl-nothing.fixed.md", "x", "'vl-nothing' is no package"),
        ("9.vl-top.broken.md", "x", "'broken' is no type of change"),
        ("9.vl-top.fixed.md", " \n", "empty"),
    ],
)
def test_a_wrong_fragment_is_refused_and_named(root: Path, name: str, text: str, problem: str) -> None:
    (root / "changelog.d" / name).write_text(text)
    commit_all(root)
    before = state(root)
    with pytest.raises(ValueError, match=f"changelog.d/{name}: {problem}"):
        release.make(root, "0.2.0", date=DATE)
    assert state(root) == before


def test_a_release_with_nothing_to_tell_is_refused(root: Path) -> None:
    for path in (root / "changelog.d").glob("*.vl*"):
        path.unlink()
    commit_all(root)
    with pytest.raises(ValueError, match="no fragment"):
        release.make(root, "0.2.0", date=DATE)


# ---- make that fails on the way ----


@pytest.mark.parametrize(
    ("hook", "script", "refused"),
    [
        ("pre-commit", "exit 1", "'commit'"),
        ("reference-transaction", "[ $1 != prepared ] || ! grep 'refs/tags/' | grep -qv ' 00000000'", "'tag'"),
    ],
    ids=["commit", "tag"],
)
def test_a_commit_or_tag_that_git_refuses_leaves_all_as_it_was(
    root: Path, hook: str, script: str, refused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    add_hook(root, hook, script)
    before = state(root)
    status, _, err = run(root, "make", "0.2.0", capsys=capsys)
    assert status == 1
    assert refused in err
    assert state(root) == before


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_half_way_leaves_all_as_it_was(
    root: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, write = state(root), Path.write_text
    written: list[Path] = []

    def failing(path: Path, text: str, **options: str) -> int:
        if len(written) == 2:
            write(path, text[:5])
            raise error
        written.append(path)
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", failing)
    status, _, err = run(root, "make", "0.2.0", capsys=capsys)
    assert (status, len(written)) == (1, 2)
    assert ("disk full" if isinstance(error, OSError) else "interrupted; everything is as it was") in err
    assert state(root) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_commit_takes_the_commit_back(root: Path, number: signal.Signals) -> None:
    add_hook(root, "post-commit", f"kill -{number.value} $RELEASE_PROCESS; sleep 0.1")
    before = state(root)
    command = f'RELEASE_PROCESS=$$ exec "{sys.executable}" "{SCRIPT}" --root "{root}" make 0.2.0'
    done = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # ignored in what a shell runs in the background
    )
    assert (done.returncode, done.stderr) == (1, "release: interrupted; everything is as it was\n")
    assert state(root) == before


# ---- check ----


def test_a_hand_edited_pin_fails_the_check_and_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release.make(root, "0.2.0", date=DATE)
    pyproject = root / "packages/vl-top/pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("[huggingface]==0.2.0", "[huggingface]>=0.1"))
    commit_all(root)
    git(root, "tag", "--force", "v0.2.0")

    status, out, err = run(root, "check", "v0.2.0", capsys=capsys)

    assert (status, out) == (1, "")
    assert err == (
        "release: packages/vl-top/pyproject.toml: project.optional-dependencies.more has "
        "\"vl-core[huggingface]>=0.1; sys_platform == 'linux'\", expected vl-core==0.2.0\n"
    )


def test_check_lists_every_problem_on_its_own_line(root: Path) -> None:
    release.make(root, "0.2.0", date=DATE)
    (root / "packages/vl-core/src/vl_core/__about__.py").write_text('__version__ = "0.2.1"\n')
    (root / "packages/vl-top/src/vl_top/__about__.py").unlink()
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## 0.2.0 (soon)\n\n## 0.1.0 (2026-01-01)\n\n- Added: all.\n")
    (root / "changelog.d/8.vl.fixed.md").write_text("Late.\n")
    pyproject = root / "packages/vl-top/pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("vl-core==0.2.0", "vl-core=0.2.0"))
    commit_all(root)
    (root / "packages/stray").write_text("")
    head, tagged = (git(root, "rev-parse", name)[:12] for name in ("HEAD", "v0.2.0^{commit}"))

    assert release.check(root, "v0.2.0") == [
        "packages/vl-core/src/vl_core/__about__.py: version is 0.2.1, expected 0.2.0",
        'packages/vl-top/src/vl_top/__about__.py: expected one line __version__ = "X.Y.Z", found 0',
        "packages/vl-top/pyproject.toml: project.dependencies has 'vl-core=0.2.0', "
        "expected a requirement such as NAME==1.0",
        "CHANGELOG.md: section 0.2.0 has the title '## 0.2.0 (soon)', expected a date",
        "CHANGELOG.md: section 0.2.0 tells no change",
        "changelog.d/8.vl.fixed.md: left over, expected in CHANGELOG.md",
        "packages/stray: differs from what is committed",
        f"tag v0.2.0 points at {tagged}, expected HEAD, which is {head}",
    ]


def test_check_of_a_release_without_its_tag_says_so(root: Path) -> None:
    release.make(root, "0.2.0", date=DATE)
    git(root, "tag", "--delete", "v0.2.0")
    assert release.check(root, "v0.2.0") == [
        "tag v0.2.0: missing, expected at HEAD; make sets it, git fetch --tags brings it"
    ]


def test_check_before_the_release_says_that_the_section_is_missing(root: Path) -> None:
    assert "CHANGELOG.md: no section ## 0.2.0 (YYYY-MM-DD)" in release.check(root, "v0.2.0")


@pytest.mark.parametrize(("host", "refused"), [("forge.example", True), ("forge.test", False)])
def test_a_release_whose_home_is_a_placeholder_is_refused(root: Path, host: str, refused: bool) -> None:
    (root / "CITATION.cff").write_text(f"repository-code: https://{host}/o/vl\n")
    assert any("is a placeholder" in line for line in release.check(root, "v0.1.0")) is refused
    assert not any("is a placeholder" in line for line in release.check(root, "v0.1.0.dev0"))


def test_check_wants_the_name_of_a_tag(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(root, "check", "0.2.0", capsys=capsys)
    assert (status, err) == (1, "release: tag must be v and the version, got '0.2.0'; write v0.2.0\n")


def test_a_missing_library_is_named_with_the_way_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "tomlkit.py").write_text("raise ModuleNotFoundError(name='tomlkit')\n")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "check", "v0.2.0"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "tomlkit is not installed; python -m pip install packaging tomlkit" in done.stderr
