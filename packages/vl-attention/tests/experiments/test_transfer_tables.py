"""The tables of attention transfer on the page are those that the committed rows make."""

from __future__ import annotations

import transfer_tables
from vl_core.results import read_rows
from workspace import ROOT

PAGE = ROOT / "packages/vl-attention/docs/attention-transfer.md"


def test_every_study_has_its_table_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    studies = sorted(transfer_tables.RESULTS.glob("*/transfer.csv"))
    assert studies
    for path in studies:
        rows = read_rows(path)
        assert transfer_tables.methods_table(rows) in text, path.parent.name
        assert transfer_tables.ensemble_line(rows) in text, path.parent.name


def test_the_page_shows_the_searched_rates() -> None:
    table = transfer_tables.rates_table(read_rows(transfer_tables.RESULTS / "learning_rates.csv"))
    assert table in PAGE.read_text(encoding="utf-8")


def test_rates_are_sorted_and_seeds_averaged() -> None:
    def row(method: str, rate: str, accuracy: str) -> dict[str, str]:
        return {"method": method, "rate": rate, "accuracy": accuracy}

    rows = [row("copy", "0.01", "0.5"), row("copy", "0.002", "0.7"), row("copy", "0.002", "0.8")]
    table = transfer_tables.rates_table([*rows, row("scratch", "0.002", "0.6")])
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert cells[0] == ["method", "0.002", "0.01"]
    assert cells[2:] == [["copy", "75.0", "50.0"], ["scratch", "60.0", ""]]


def test_the_readme_shows_the_figures_of_the_page() -> None:
    readme = (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    table = transfer_tables.methods_table(read_rows(transfer_tables.RESULTS / "fashion_40_epochs/transfer.csv"))
    for line in table.splitlines()[2:]:
        _, _, _, accuracy, gain, *_ = (cell.strip() for cell in line.split("|"))
        assert f"| {accuracy} | {gain}" in readme


def test_the_ensemble_is_compared_with_the_better_member_of_its_seed() -> None:
    def row(method: str, seed: int, accuracy: float) -> dict[str, str]:
        return {"method": method, "seed": str(seed), "accuracy": str(accuracy)}

    rows = [row("fine-tune", 0, 0.8), row("distill", 0, 0.7), row("ensemble", 0, 0.81)]
    rows += [row("fine-tune", 1, 0.8), row("distill", 1, 0.82), row("ensemble", 1, 0.81), row("scratch", 1, 0.99)]
    line = transfer_tables.ensemble_line(rows)
    assert line == "ensemble over the better of its members, by seed: +1.0, -1.0; mean +0.0\n"
    assert not transfer_tables.ensemble_line([row("scratch", 0, 0.5)])
