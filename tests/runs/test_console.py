"""Tables on the terminal lose nothing, whatever the width."""

import io
import itertools
import re

import pytest
from rich.console import Console

from problems import load
from solver.commands import inspect
from solver.commands.run import chosen_outputs
from solver.projection.target import target
from solver.runs.console import TerminalTable, print_pairs

COLUMNS = ["attention.beta", "closest_w1", "closest_w1_time", "closest_w2", "w2_density_particles_max", "verdict"]
ROW = ("100", "0.1234", "3.1", "0.2345", "0.00123", "disagree")


def printed(show, width):
    out = io.StringIO()
    show(Console(file=out, width=width, highlight=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 30, 60, 80, 200])
def test_every_cell_is_printed_in_full(width):
    table = TerminalTable("Sweep", COLUMNS)
    table.add(*ROW)
    text = printed(table.print, width)
    assert max(map(len, text.splitlines())) <= width
    letters = "".join(text.split())
    for cell in (*COLUMNS, *ROW):
        assert cell in text or (width < 50 and set(cell) <= set(letters))
    assert text.count("attention.beta") == {60: 2, 80: 2, 200: 1}.get(width, text.count("attention.beta"))
    assert "\u2026" not in text


def test_sentences_are_wrapped_at_words():
    table = TerminalTable("", ["name", "title"], sentences=["title"])
    table.add("misaligned_circle", "concentration, metastability, departure and [brackets] too".replace("[", "\\["))
    text = printed(table.print, 50)
    assert text.count("misaligned_circle") == 1
    words = " ".join(text.split("title", 1)[1].replace("misaligned_circle", "").split())
    assert words == "concentration, metastability, departure and [brackets] too"


def test_pairs_show_brackets_as_they_are():
    text = printed(lambda console: print_pairs(console, [("attention", "V = [[2, 0], [0, 1]]"), ("", "[bold]x")]), 80)
    assert "[[2, 0], [0, 1]]" in text and "[bold]x" in text


@pytest.mark.parametrize("count", [1, 2, 13, 14, 33, 121, 1000])
def test_rows_are_chosen_at_equal_distances(count):
    chosen = chosen_outputs(count, set())
    assert chosen[0] == 0 and chosen[-1] == count - 1 and len(chosen) <= 14
    assert len({b - a for a, b in itertools.pairwise(chosen[:-1])}) <= 1


@pytest.mark.parametrize("width", [60, 80])
def test_the_words_of_a_target_wrap_between_words(width, tmp_path, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(inspect, "rank_console", lambda comm, quiet: Console(file=stream, width=width, force_terminal=True))
    inspect.show_target("misaligned_circle", None, tmp_path / "target", False, False)
    lines = re.sub("\x1b[^m]*m", "", stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    words = set(" ".join(target(load("misaligned_circle")).words).split())
    assert words <= set(" ".join(lines).split())
