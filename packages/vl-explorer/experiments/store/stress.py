"""Several processes on one store for some minutes: no lock error, no image downloaded twice, nothing left half done.

    python packages/vl-explorer/experiments/store/stress.py --minutes 10

Every process goes through the same URLs in an order of its own, claims each, makes an image of it where the claim is
granted, and says so in a file of its own; in between it adds queries, results and rewards, opens the store anew, and
forgets an image. A quota evicts all along. With `--kill`, processes are killed and started again all the time.
"""

from __future__ import annotations

import argparse
import io
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image
from vl_core.results import append_row, provenance
from vl_explorer.store.claims import Claim
from vl_explorer.store.rights.forget import forget
from vl_explorer.store.rows import Result, Source
from vl_explorer.store.store import Store

ROWS = Path(__file__).resolve().parents[2] / "results" / "store_stress.csv"

WINDOW = 40  # URLs that the processes want at the same time
QUOTA = 3_000_000  # bytes


def url_of(number: int) -> str:
    """Address of a made-up image."""
    return f"https://images.example/{number}.png"


def download(number: int) -> tuple[bytes, Image.Image]:
    """An image of random fields, the same for a number everywhere; every seventh is one that was there before."""
    fields = random.Random(number - 3 if number % 7 == 3 else number).randbytes(3 * 16 * 16)
    image = Image.frombytes("RGB", (16, 16), fields).resize((48, 48), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue(), image


def work(folder: Path, worker: str, seconds: float) -> None:
    """Use the store until the time is over, as one of its processes."""
    draws = random.Random(time.time_ns())
    end, window = time.time() + seconds, 0
    with (folder / f"downloads-{worker}.txt").open("a", buffering=1) as log:
        while time.time() < end:
            with Store(folder / "store", owner=worker, quota=QUOTA) as store:
                for _ in range(5):
                    take_window(store, window, draws, end, log.write)
                    window += 1


def take_window(store: Store, window: int, draws: random.Random, end: float, write: Callable[[str], object]) -> None:
    """One query and the URLs of its results, in random order."""
    numbers = list(range(window * WINDOW, (window + 1) * WINDOW))
    run = store.add_run(store.owner)
    store.add_iteration(run.id, window)
    query = store.add_query(run.id, window, 0, f"query {window}", engine="made up")
    store.add_results(query.id, [Result(rank, url_of(number)) for rank, number in enumerate(numbers)])
    rewards = {}
    draws.shuffle(numbers)
    for number in numbers:
        if time.time() > end:
            return
        if store.claim(url_of(number)) is Claim.GRANTED:
            write(f"{number}\n")
            if number % 11 == 5:
                store.add_failure(url_of(number), "status", "404")
                continue
            content, image = download(number)
            added = store.add_image(Source(url_of(number), engine="made up"), content, image)
            rewards[added.sha256] = draws.random()
    with store.transaction():
        store.set_rewards(run.id, window, rewards)
        store.finish_iteration(run.id, window)
    if window % 10 == 9:
        forget(store, url_of(draws.choice(numbers)))


def start(folder: Path, worker: str, seconds: float) -> subprocess.Popen[str]:
    """Start a process on the store."""
    command = [sys.executable, __file__, "--worker", worker, "--folder", str(folder), "--seconds", str(seconds)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def run(folder: Path, seconds: float, processes: int, kill: bool) -> dict[str, object]:
    """Let processes use one store, and count what went wrong."""
    end, kills, errors = time.time() + seconds, 0, 0
    workers = {str(number): start(folder, str(number), seconds) for number in range(processes)}
    try:
        while time.time() < end:
            time.sleep(random.uniform(0.2, 2.0))
            if kill:
                worker = random.choice(list(workers))
                workers[worker].kill()
                workers[worker].communicate()
                kills += 1
                workers[worker] = start(folder, worker, max(0.0, end - time.time()))
        for process in workers.values():
            _, text = process.communicate(timeout=60)
            errors += process.returncode != 0
            sys.stderr.write(text)
    finally:
        for process in workers.values():
            process.kill()
    return count(folder, processes, kill) | {"kills": kills, "processes that failed": errors}


def count(folder: Path, processes: int, killed: bool) -> dict[str, object]:
    """Downloads by all processes, and faults of the store; a process that was killed may have to begin one again."""
    downloads: Counter[str] = Counter()
    for number in range(processes):
        path = folder / f"downloads-{number}.txt"
        urls = path.read_text(encoding="utf-8").split() if path.exists() else []
        downloads.update(set(urls) if killed else urls)
    with Store(folder / "store") as store:
        faults = store.faults(contents=True)
        images = len(store.images())
    return {
        "downloads": sum(downloads.values()),
        "images": images,
        "downloaded twice": sum(number > 1 for number in downloads.values()),
        "faults": len(faults),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the test, print its counts and add them to the results; the exit status is 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kill", action="store_true", help="kill processes all the time")
    parser.add_argument("--out", type=Path, default=ROWS, help="CSV file that gets a row")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker is not None:
        work(given.folder, given.worker, given.seconds)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        counts = run(Path(folder), 60 * given.minutes, given.processes, given.kill)
    row = {"minutes": given.minutes, "processes": given.processes} | counts | provenance()
    append_row(given.out, row)
    print(", ".join(f"{name} {value}" for name, value in row.items()))
    return int(any(counts[name] for name in ("downloaded twice", "faults", "processes that failed")))


if __name__ == "__main__":
    sys.exit(main())
