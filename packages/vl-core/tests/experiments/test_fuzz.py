"""The fuzz study: equal seeds give equal mutants, whole files are accepted, and planted faults are found."""

import random
import sys
import textwrap
import time

import fuzz_targets
import mutation
import pytest
import run
from fuzz_worker import Case
from vl_core.results import read_rows

HEAVY = ("parquet", "hub-folder", "denoiser", "classifier", "predictions")
INSTALLED = [pytest.param(name, marks=[pytest.mark.slow] * (name in HEAVY)) for name in run.choose(())]


@pytest.mark.parametrize("name", INSTALLED)
def test_the_whole_files_of_a_target_are_accepted(tmp_path, name):
    target = fuzz_targets.TARGETS[name]
    case = Case(target, tmp_path)
    target.read(case.folder)
    assert any(case.folder.iterdir())


@pytest.mark.parametrize("name", INSTALLED)
def test_some_mutants_of_every_target_keep_the_promise(tmp_path, name):
    target = fuzz_targets.TARGETS[name]
    case = Case(target, tmp_path)
    for number in range(20):
        case.place(case.mutant("test", number))
        fuzz_targets.check(target, case.folder)


def test_mutants_depend_on_the_seed_and_the_number_alone(tmp_path, monkeypatch):
    case = Case(fuzz_targets.TARGETS["npz"], tmp_path)
    mutants = [case.mutant("0", number) for number in range(60)]
    # Later, as archives usually hold times.
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(10**9))
    later = Case(fuzz_targets.TARGETS["npz"], tmp_path)
    assert mutants == [later.mutant("0", number) for number in range(60)]
    assert len(set(mutants)) > 50
    assert case.mutant("1", 0) != mutants[0]


def test_a_layout_is_put_together_again():
    """Mutants of a file with checksums get past them; of blind ones, nearly none does."""
    png = fuzz_targets._image_files("png")["image.png"][0]
    generator = random.Random(0)
    blind = sum(_opens(mutation.blind(png, generator)) for _ in range(200))
    assert sum(_opens(mutation.mutate(png, generator)) for _ in range(200)) > 2 * blind
    assert all(len(mutation.mutate(png, generator)) <= mutation.MAX_BYTES for _ in range(50))


def _opens(content):
    import io

    from PIL import Image

    try:
        Image.open(io.BytesIO(content)).load()
    except Exception:
        return False
    return True


def test_a_refusal_must_name_the_file(tmp_path):
    def read(folder):
        raise ValueError(f"{folder.name} is damaged" if folder.name == "fuzzed" else "damaged")

    target = fuzz_targets.Target("vl_core", dict, read)
    fuzz_targets.check(target, tmp_path / "fuzzed")
    with pytest.raises(fuzz_targets.FindingError, match="ValueError names no file: damaged"):
        fuzz_targets.check(target, tmp_path / "other")


PLANTED = """
    import os, sys, time
    import fuzz_worker
    from fuzz_targets import Target
    from pathlib import Path

    def read(folder):
        first = (folder / "a.txt").read_bytes()[:1]
        if first == b"k":
            raise KeyError("planted")
        if first == b"n":
            os.write(2, b"planted line")
        if first == b"h" or (first == b"s" and not stood_still.exists()):
            stood_still.touch()
            time.sleep(60)
        if first == b"m":
            held.append(b"x" * (200 << 20))
        if first == b"c":
            os.abort()

    def mutant(case, seed, number):
        if number == 15:
            sys.exit()  # ends the run, however slow the machine is
        return b"\\0" + (b"sknhmc" + b"-" * 9)[number : number + 1]

    held = []
    fuzz_worker.HANG_SECONDS = 1.0
    fuzz_worker.MEMORY_MB = 200
    fuzz_worker.limit_memory = lambda megabytes: None
    fuzz_worker.Case.mutant = mutant
    target = Target("vl_core", lambda: {"a.txt": [b"-"]}, read)
    stood_still = Path(__file__).with_name("stood-still")
    name, seed, seconds, folder, out, engine = sys.argv[1:]
    sys.exit(fuzz_worker.work({name: target}, name, int(seed), float(seconds), Path(folder), Path(out)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_every_kind_of_planted_fault_is_found(tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(f"import sys\nsys.path.insert(0, {str(run.HERE)!r})\n{textwrap.dedent(PLANTED)}")
    outcome = run.fuzz("planted", 0, 600, tmp_path / "out", worker=worker)
    kinds = sorted(path.name.split("-")[1] for path in (tmp_path / "out").glob("*.txt"))
    assert kinds == ["crash", "exception", "hang", "memory", "noise"]
    assert outcome.findings == 5
    assert outcome.executions == 15
    assert 200 < outcome.peak_mb < 600
    first = next((tmp_path / "out").glob("planted-exception-*.bin"))
    assert first.read_bytes() == b"\0k"
    assert "KeyError: 'planted'" in first.with_suffix(".txt").read_text()


@pytest.mark.parametrize("findings", [0, 2])
def test_the_command_appends_a_row_for_each_target_and_says_if_there_are_findings(tmp_path, monkeypatch, findings):
    def fuzz(target, seed, seconds, out, engine):
        return run.Outcome(target, 500, seconds, findings, 600, 0.25, seed, engine)

    monkeypatch.setattr(run, "fuzz", fuzz)
    arguments = ["--target", "table", "image-p", "--minutes", "0.5", "--seed", "7", "--csv", str(tmp_path / "fuzz.csv")]
    assert run.main(arguments) == bool(findings)
    rows = read_rows(tmp_path / "fuzz.csv")
    assert [row["target"] for row in rows] == ["table", "image-png", "image-ppm"]
    assert {(row["executions"], row["seconds"], row["seed"]) for row in rows} == {("500", "30.0", "7")}


def test_targets_are_chosen_by_the_beginning_of_their_names():
    assert run.choose(["image-p"]) == ["image-png", "image-ppm"]
    with pytest.raises(ValueError, match="--target must name some of parquet, npz"):
        run.choose(["none"])
