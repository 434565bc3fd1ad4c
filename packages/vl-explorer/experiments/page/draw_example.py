"""Make the figure of docs/dashboard.md: a run over the built-in emoji, its report, and a screenshot of that.

The run searches captions of emoji for words, and rewards what is food by a rule, without an encoder: the page is shown,
not a result. The screenshot needs Chromium; without one, the report is all that is written.

    python experiments/page/draw_example.py OUT
"""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from vl_core.data import open_dataset
from vl_explorer import CaptionEngine, GaussianProcess, GloveNouns, Store, draw, query_distribution, write_report
from vl_explorer.exploring.summary import IterationSummary
from vl_explorer.store.rows import Result, Source

ITERATIONS, QUERIES, RESULTS = 8, 30, 5
FINISHED = 6
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def explore(folder: Path) -> None:
    """Fill a store with a run that is at work at its seventh iteration."""
    emoji = open_dataset("emoji:noto")
    number = {name: place for place, name in enumerate(emoji.names)}
    embed, engine = GloveNouns(), CaptionEngine.open(emoji)
    captions = emoji.captions or ()
    words = sorted({word for caption in captions for word in embed.known(caption)})
    model = GaussianProcess(embed(words), length_scale=0.6, noise=0.2)
    rng = np.random.default_rng(0)
    with Store(folder, owner="example") as store:
        settings = {"target": "food emoji", "iterations": ITERATIONS, "queries_per_iteration": QUERIES, "seed": 0}
        run = store.add_run("food", settings | {"results_per_query": RESULTS, "engine": "captions of emoji:noto"})
        for t in range(FINISHED + 1):
            store.add_iteration(run.id, t)
            mean, std = model.predict()
            chosen = draw(query_distribution(mean + std, tiers=(30, 100)), QUERIES, seed=0, iteration=t)
            before = set(store.rewards(run.id))
            rewards: dict[str, float] = {}
            concepts: list[float | None] = []
            for place, concept in enumerate(chosen):
                query = store.add_query(run.id, t, place, words[concept], concept=words[concept], engine="captions")
                if t == FINISHED and place >= QUERIES // 2:
                    continue
                results = asyncio.run(engine.search(words[concept], RESULTS)).results
                # The captions of this machine have no addresses: each image gets one of its own.
                named = [(f"https://emoji.example/{number[result.identifier]}.png", result) for result in results]
                answer = [Result(rank, url, title=result.title) for rank, (url, result) in enumerate(named)]
                store.add_results(query.id, answer, requests=1)
                own = []
                for url, result in named:
                    place_of = number[result.identifier]
                    caption, kind = captions[place_of], emoji.classes[emoji.labels[place_of]]
                    image = Image.fromarray(np.asarray(emoji[place_of][0])).convert("RGB").resize((96, 96))
                    file = io.BytesIO()
                    image.save(file, "PNG")
                    source = Source(
                        url,
                        url.replace(".png", ".html"),
                        caption,
                        "Google",
                        "Apache-2.0",
                        engine="captions",
                        query=words[concept],
                    )
                    digest = store.add_image(source, file.getvalue(), image).sha256
                    noise = float(rng.normal(0, 0.04))
                    rewards.setdefault(digest, (0.72 if kind == "food & drink" else 0.3) + noise)
                    own.append(rewards[digest])
                concepts.append(float(np.mean(own)) if own else None)
            if t == FINISHED:
                break
            model.observe(
                [c for c, value in zip(chosen, concepts, strict=True) if value is not None],
                [value for value in concepts if value is not None],
            )
            values = sorted(rewards.values(), reverse=True)
            summary = IterationSummary(
                tuple(concepts), float(np.mean(values)), float(np.mean(values[: max(1, len(values) // 10)])),
                len(values), len(set(rewards) - before), 0, 0, QUERIES, 0.0, 40 * t,
            )  # fmt: skip
            with store.transaction():
                store.set_rewards(run.id, t, rewards)
                store.finish_iteration(run.id, t, summary.to_json())


def main(out: Path) -> None:
    """Write ``report.html`` and ``dashboard.png``."""
    out.mkdir(parents=True, exist_ok=True)
    explore(out / "store")
    with Store(out / "store", read_only=True) as store:
        write_report(out / "report.html", store)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return
    shot = out / "screenshot.png"
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1280,1800", f"--screenshot={shot}"]
    subprocess.run([browser, *flags, (out / "report.html").resolve().as_uri()], check=True, capture_output=True)
    with Image.open(shot) as image:
        image.convert("RGB").quantize(192, dither=Image.Dither.NONE).save(out / "dashboard.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
