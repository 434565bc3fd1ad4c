"""`vl-explorer run`: the whole loop."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from vl_core.cli import note_on_interruption
from vl_core.runs import RunFolder
from vl_core.tables import percent, text_table

from vl_explorer.commands._recorded import to_record
from vl_explorer.commands._run_inputs import Inputs, open_inputs
from vl_explorer.commands._run_parts import build_acquisition, build_guard, build_learner, build_model
from vl_explorer.commands._run_results import relevant_shares, write_results
from vl_explorer.commands._warnings import plain_warnings
from vl_explorer.commands.settings.run import LOCAL, Run
from vl_explorer.exploring.explorer import Explorer
from vl_explorer.exploring.summary import IterationSummary
from vl_explorer.rewards.encoder import ImageEncoder
from vl_explorer.rewards.separation import separation
from vl_explorer.search.engine import SearchError
from vl_explorer.search.http.budget import Budget
from vl_explorer.store.store import Store
from vl_explorer.web.downloader import Downloader


@plain_warnings()
def run(settings: Run) -> int:
    """Explore; of a dry run, say what would be done.

    Returns:
        The exit status: 1 if the engine ended the run before its last iteration, such as for a budget that is spent.

    Raises:
        OSError: If a file is missing, or cannot be written.
        ValueError: If what is named cannot be used, or the folder holds a run with other settings.
    """
    settings.check()
    try:
        inputs = open_inputs(settings)
    except SearchError as error:
        raise ValueError(str(error)) from error
    learner = build_learner(settings)
    encoder = learner.encoder()
    print(inputs.description)
    for line in (*_spending(settings, inputs), _separation(inputs, encoder)):
        print(line, flush=True)
    if settings.dry_run:
        print("this was a dry run: nothing was asked, downloaded or written")
        return 0
    guard = build_guard(settings, encoder)
    name = settings.run_name
    own = settings.engine not in (None, LOCAL)
    stopped = ""
    with (
        RunFolder(settings.out, settings.explored()),
        Store(settings.store or settings.out, quota=settings.quota_bytes, owner=f"run {name}") as store,
    ):
        explorer = Explorer(
            inputs.target,
            inputs.vocabulary,
            inputs.engine,
            learner,
            out=settings.out,
            store=store,
            name=name,
            settings=settings.exploration,
            model=build_model(settings, inputs),
            acquisition=build_acquisition(settings),
            labels=settings.label_names,
            downloader=Downloader(settings.policy) if own else None,
            policy=settings.policy,
            filters=() if guard is None else (guard,),
            licenses=settings.licenses or None,
            evaluate=inputs.evaluate,
            extra_settings=to_record(settings),
        )
        budget = getattr(inputs.engine, "budget", None)
        if isinstance(budget, Budget):  # What was spent before counts, and so does what a kill may interrupt.
            budget.requests, budget.cost = store.spending(explorer.run_id)
            budget.record = partial(store.add_spending, explorer.run_id)
        try:
            with note_on_interruption(f"rerun to go on; {settings.out} keeps all that was found"):
                summaries = explorer.run()
        except SearchError as error:
            summaries, stopped = explorer.summaries(), str(error)
        hits = relevant_shares(store, explorer.run_id, inputs.relevant)[: len(summaries)]
        write_results(settings, inputs, summaries, hits, store, explorer.run_id)
    print(_table(summaries, hits))
    if hits:
        print(f"relevant: images that show the task, {percent(inputs.chance)} % of the whole web; no search sees it")
    if guard is not None:
        print(guard.report())
    if stopped:
        print(f"stopped: {stopped}; rerun to go on")
    names = "report.html, progress.png, wall.png" if summaries else "report.html"
    print(f"wrote {names} and result.json to {settings.out}, the store to {settings.store or settings.out}")
    return 1 if stopped else 0


def _spending(settings: Run, inputs: Inputs) -> list[str]:
    """Limits and price of the engine, and an estimate of what the exploration asks of it."""
    exploration = settings.exploration
    searches = exploration.searches
    estimate = inputs.engine.limits.estimate(searches, exploration.results)
    lines = [
        inputs.engine.describe(),
        f"at most {searches:,} searches for {exploration.results} images each, which are "
        f"{searches * exploration.results:,} images",
    ]
    if estimate.requests:
        lines[1] += (
            f"; about {estimate.requests:,} requests, ${estimate.cost:,.2f}, {estimate.seconds:,.0f} s by its pace"
        )
    limits = (settings.max_requests, settings.max_cost)
    if any(most is not None and most < need for most, need in zip(limits, estimate[:2], strict=True)):
        lines.append("the budget of --max-requests or --max-cost ends this sooner")
    return lines


def _separation(inputs: Inputs, encoder: ImageEncoder) -> str:
    """A line that says whether the start encoder can tell the target from the web."""
    if len(inputs.target) < 3 or not inputs.sample:
        return f"the start encoder was not tested, for want of images: {len(inputs.target)} of the target"
    return f"{separation(encoder(inputs.target), encoder(inputs.sample))} ({inputs.sampled_from})"


def _table(summaries: Sequence[IterationSummary], hits: Sequence[float]) -> str:
    rows = [
        [
            str(number),
            f"{summary.image_reward:.3f}",
            f"{summary.best_reward:.3f}",
            f"{summary.found:,}",
            f"{summary.new:,}",
            f"{summary.refused:,}",
            f"{summary.dropped:,}",
            f"{summary.trained:,}",
            percent(hits[number]) if hits else "",
            "" if summary.accuracy is None else percent(summary.accuracy),
        ]
        for number, summary in enumerate(summaries)
    ]
    head = [
        "iteration",
        "reward",
        "best tenth",
        "images",
        "new",
        "refused",
        "dropped",
        "updates",
        "relevant %",
        "k-NN %",
    ]
    return text_table(head, rows)
