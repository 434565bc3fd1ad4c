"""Changed paths to packages, on a small workspace: a is needed by b, b (in an extra) by c, and d stands alone."""

import io
import subprocess
from pathlib import Path

import ci_matrix
import pytest
from workspace import ROOT, read_packages


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgSign=false")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    requirements = {
        "vl-c": 'optional-dependencies.more = ["vl-b==1"]',
        "vl-b": 'dependencies = ["vl-a==1", "numpy"]',
        "vl-a": "",
        "vl-d": 'dependencies = ["vl_e"]',  # a stranger, though it looks like one of ours
    }
    for name, line in requirements.items():
        folder = tmp_path / "packages" / name
        folder.mkdir(parents=True)
        (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n{line}\n')
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["packages/vl-a/src/vl_a/x.py"], ["vl-a", "vl-b", "vl-c"]),
        (["packages/vl-b/README.md"], ["vl-b", "vl-c"]),
        (["packages/vl-c/tests/test_x.py", "packages/vl-d/LICENSE"], ["vl-d", "vl-c"]),
        (["README.md", "docs/index.md", "changelog.d/1.vl-a.fixed.md", "SECURITY.md", ".editorconfig"], []),
        ([], []),
        (["docs/index.md", "packages/vl-d/x"], ["vl-d"]),
    ],
)
def test_a_change_selects_its_package_and_what_needs_it(root: Path, paths: list[str], expected: list[str]) -> None:
    assert ci_matrix.select(paths, read_packages(root), root) == expected


@pytest.mark.parametrize("path", ["pyproject.toml", "tools/release.py", "tests/test_x.py", ".github/workflows/ci.yml"])
def test_what_all_share_selects_all(root: Path, path: str) -> None:
    assert ci_matrix.select([path], read_packages(root), root) == ["vl-a", "vl-d", "vl-b", "vl-c"]


def test_a_removed_package_selects_all(root: Path) -> None:
    git(root, "init")
    (root / "packages/vl-old").mkdir()
    (root / "packages/vl-old/pyproject.toml").write_text("")
    git(root, "add", ".")
    git(root, "commit", "--message=one")
    git(root, "rm", "-r", "packages/vl-old")
    git(root, "commit", "--message=two")
    assert ci_matrix.select(["packages/vl-old/pyproject.toml"], read_packages(root), root) == list(read_packages(root))
    for name in ("vl-odl", "vl-*"):
        with pytest.raises(ci_matrix.UnknownPathError, match="expected a path inside packages/vl-"):
            ci_matrix.select([f"packages/{name}/pyproject.toml"], read_packages(root), root)


@pytest.mark.parametrize(
    "path", ["setup.py", "src/x.py", "packages/README.md", "packages/vl-new/x.py", "packages/typo/x.py", "testsuite/x"]
)
def test_an_unknown_path_is_named_and_ends_with_status_two(
    root: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "packages/vl-new").mkdir()
    assert ci_matrix.main(["--root", str(root), "docs/x.md", path]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"ci_matrix: {path}: expected a path inside packages/vl-*")


@pytest.mark.parametrize("path", [".", "/", "..", "../x", "/tests/x.py", "packages/vl-a/../../x.py", "tests/../x.py"])
def test_a_path_that_git_would_not_print_is_refused(root: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ci_matrix.main(["--root", str(root), path]) == 2
    expected = f"ci_matrix: {path}: expected a path relative to the root, without .., as git prints it\n"
    assert capsys.readouterr() == ("", expected)


def test_paths_from_standard_input(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("packages/vl-d/x\n\ndocs/y\n"))
    assert ci_matrix.main(["--root", str(root), "-"]) == 0
    assert capsys.readouterr().out == '["vl-d"]\n'


def test_all_for_github_puts_each_package_after_what_it_needs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ci_matrix.main(["--root", str(root), "--all", "--github"]) == 0
    assert capsys.readouterr().out == 'packages=["vl-a", "vl-d", "vl-b", "vl-c"]\n'


def test_no_question_is_a_usage_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        ci_matrix.main(["--root", str(root)])
    assert "required" in capsys.readouterr().err


def test_since_compares_with_where_the_branch_began_and_sees_both_ends_of_a_rename(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(root, "init", "--initial-branch=main")
    (root / "packages/vl-d/long name.py").write_text("a file that moves\n" * 5)
    git(root, "add", ".")
    git(root, "commit", "--message=one")
    git(root, "switch", "--create=topic")
    git(root, "mv", "packages/vl-d/long name.py", "packages/vl-c/x.py")
    git(root, "commit", "--message=two")
    git(root, "switch", "main")
    (root / "packages/vl-a/other.py").write_text("")  # main goes on; the topic is not asked to test that
    git(root, "add", ".")
    git(root, "commit", "--message=three")
    git(root, "switch", "topic")

    assert ci_matrix.main(["--root", str(root), "--since", "main"]) == 0
    assert capsys.readouterr().out == '["vl-d", "vl-c"]\n'


def test_an_unknown_reference_ends_with_status_two(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    assert ci_matrix.main(["--root", str(root), "--since", "no-such-branch"]) == 2
    assert "no-such-branch...HEAD" in capfd.readouterr().err


def test_packages_that_need_each_other_are_refused(root: Path) -> None:
    (root / "packages/vl-a/pyproject.toml").write_text('[project]\nname = "vl-a"\ndependencies = ["vl-c"]\n')
    with pytest.raises(ValueError, match=r"in a circle: .*vl-a"):
        read_packages(root)


def test_a_folder_named_unlike_its_package_is_refused(root: Path) -> None:
    (root / "packages/vl-a/pyproject.toml").write_text('[project]\nname = "vl-z"\n')
    with pytest.raises(ValueError, match="names the package 'vl-z', expected 'vl-a'"):
        read_packages(root)


def test_every_file_of_this_repository_is_known() -> None:
    files = subprocess.check_output(["git", "-C", str(ROOT), "ls-files", "-z"], text=True).split("\0")
    assert ci_matrix.select(filter(None, files), read_packages()) == list(read_packages())
