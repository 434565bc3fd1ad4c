"""Rules for every workflow; the commands that it runs exist."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from workspace import ROOT, read_packages

GITHUB = ROOT / ".github"
WORKFLOWS = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in GITHUB.glob("workflows/*.yml")}
JOBS = {(file, name): job for file, workflow in WORKFLOWS.items() for name, job in workflow["jobs"].items()}
ENVS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["envs"]

each_workflow = pytest.mark.parametrize("file", WORKFLOWS)
each_job = pytest.mark.parametrize("job", JOBS.values(), ids=map("/".join, JOBS))


def test_actions_of_others_are_pinned_by_hash_to_one_named_version() -> None:
    pins: dict[str, set[str]] = {}
    for path in [*GITHUB.glob("workflows/*.yml"), *GITHUB.glob("actions/*/action.yml")]:
        for action, pin in re.findall(r"uses: ([^\s@.][^\s@]*)(.*)", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), f"{path.name}: {action}{pin}"
            pins.setdefault(action, set()).add(pin)
    assert pins
    assert {action: found for action, found in pins.items() if len(found) > 1} == {}


def test_actions_and_workflows_of_this_repository_exist() -> None:
    for path in GITHUB.glob("workflows/*.yml"):
        for used in re.findall(r"uses: \./(\S+)", path.read_text(encoding="utf-8")):
            assert (ROOT / used).is_file() or (ROOT / used / "action.yml").is_file(), f"{path.name}: {used}"


@each_workflow
def test_workflow_has_no_permission_of_its_own_and_never_runs_twice_at_once(file: str) -> None:
    assert WORKFLOWS[file]["permissions"] == {}
    assert WORKFLOWS[file]["concurrency"]["group"]


@each_job
def test_job_says_what_it_may_do_and_when_to_give_up(job: dict[str, Any]) -> None:
    assert isinstance(job["permissions"], dict)
    assert "uses" in job or 0 < job["timeout-minutes"] <= 60


@each_job
def test_checkouts_keep_no_credentials(job: dict[str, Any]) -> None:
    for step in job.get("steps", ()):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_only_the_release_can_publish_and_only_from_an_environment() -> None:
    can = {key for key, job in JOBS.items() if job["permissions"].get("id-token") == "write"}
    assert can == {("release.yml", "attest"), ("release.yml", "publish"), ("docs.yml", "deploy")}
    assert JOBS["release.yml", "publish"]["environment"]["name"] == "pypi-${{ matrix.package }}"
    assert set(JOBS["release.yml", "publish"]["needs"]) == {"ci", "build", "attest"}


def test_check_waits_for_every_other_job_and_only_three_may_be_skipped() -> None:
    jobs = WORKFLOWS["ci.yml"]["jobs"]
    assert sorted([*jobs["check"]["needs"], "check"]) == sorted(jobs)
    assert {name for name, job in jobs.items() if "if" in job} == {"test", "slow", "gpu", "check"}


def test_slow_tests_run_every_night() -> None:
    triggers = WORKFLOWS["ci.yml"][True]  # YAML takes the key `on` for a truth value
    assert [moment["cron"].split()[2:] for moment in triggers["schedule"]] == [["*", "*", "*"]]
    slow = JOBS["ci.yml", "slow"]
    assert "schedule" in slow["if"]
    assert any(step.get("run", "").startswith("hatch run slow") for step in slow["steps"])


def test_packages_claim_the_systems_that_they_are_tested_on() -> None:
    classifiers = {
        "ubuntu-latest": "Operating System :: POSIX :: Linux",
        "macos-latest": "Operating System :: MacOS",
        "windows-latest": "Operating System :: Microsoft :: Windows",
    }
    cells = JOBS["ci.yml", "test"]["strategy"]["matrix"]["cell"]
    tested = {classifiers[cell["system"]] for cell in cells}
    for name, package in read_packages().items():
        project = tomllib.loads(package.pyproject.read_text(encoding="utf-8"))["project"]
        claimed = {text for text in project["classifiers"] if text.startswith("Operating System")}
        assert claimed == tested, name


@pytest.mark.parametrize(("bad", "status"), [("false", 0), ("true", 1), ("", 1)])
def test_check_passes_only_when_nothing_is_bad(bad: str, status: int) -> None:
    script = JOBS["ci.yml", "check"]["steps"][0]["run"]
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    assert (
        subprocess.run(shell, env={"BAD": bad, "RESULTS": "{}"}, capture_output=True, check=False).returncode == status
    )


def test_processors_without_a_gpu_get_the_small_torch() -> None:
    assert WORKFLOWS["ci.yml"]["env"]["UV_TORCH_BACKEND"] == "cpu"
    assert JOBS["ci.yml", "gpu"]["env"]["UV_TORCH_BACKEND"] != "cpu"
    assert JOBS["docs.yml", "build"]["env"]["UV_TORCH_BACKEND"] == "cpu"


@pytest.mark.parametrize(
    "path",
    sorted([*GITHUB.glob("workflows/*.yml"), *ROOT.glob("*.md")]),
    ids=lambda path: path.name,
)
def test_hatch_scripts_that_are_named_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"hatch run (?:\+\S+ )?([\w-]+(?::[\w-]+)?)", text)
    for matrix in (
        job["strategy"]["matrix"] for (file, _), job in JOBS.items() if file == path.name and "strategy" in job
    ):
        named += matrix.get("script", [])
    for script in named:
        env, _, name = script.rpartition(":")
        known = ENVS["default"]["scripts"].keys() | ENVS[env or "default"].get("scripts", {}).keys()
        assert name in known or (not env and name in {"pytest", "python"}), f"hatch run {script}"


@pytest.mark.skipif(shutil.which("zizmor") is None, reason="zizmor is not installed; CI runs it: uvx zizmor")
def test_workflow_linter_finds_nothing() -> None:
    command = ["zizmor", "--offline", "--pedantic", "--no-progress", str(GITHUB)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
