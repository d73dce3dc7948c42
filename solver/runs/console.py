"""The terminal of rank 0, and tables that are never cut: in full outside a terminal, in blocks of columns inside a narrow one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

UNLIMITED = 100_000  # columns where nobody's window limits them
NARROWEST_TEXT = 24  # of a column of sentences, before other columns give way
GAP = 2


class RankConsole(Console):
    """A console that goes on in silence when its reader has gone, as in `coldflow problems | head -3`: no run ends by it."""

    def on_broken_pipe(self) -> None:
        """Nothing more is written."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_console(*, terminal: bool | None = None) -> Console:
    """The console of standard output. A file or pipe has no width, unless COLUMNS says one.

    Args:
        terminal: False for a standard output that only looks like a terminal.
    """
    console = RankConsole(file=sys.stdout, highlight=False, force_terminal=terminal)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNLIMITED
    return console


@dataclass
class TerminalTable:
    """Rows of text under column names, printed without ever cutting a cell.

    title: heading; columns: names, which may hold line breaks; sentences: names of columns whose cells are wrapped at
    words rather than moved to another block; keys: how many first columns are repeated in every block.
    """

    title: str
    columns: Sequence[str]
    sentences: Sequence[str] = ()
    keys: int = 1
    rows: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def add(self, *cells: str, style: str = "") -> None:
        """One row; `style` of rich, as for the whole row."""
        self.rows.append((cells, style))

    def width(self, column: int) -> int:
        """Terminal columns that a column needs."""
        texts = [*self.columns[column].split("\n"), *(row[column] for row, _ in self.rows)]
        widest = max(cell_len(Text.from_markup(text).plain) for text in texts)
        return min(widest, NARROWEST_TEXT) if self.columns[column] in self.sentences else widest

    def blocks(self, available: int) -> list[list[int]]:
        """The columns of each block, the first `keys` in all of them."""
        keys = list(range(self.keys))
        start = sum(self.width(i) + GAP for i in keys)
        found, used = [list(keys)], start
        for i in range(self.keys, len(self.columns)):
            width = self.width(i) + GAP
            if used + width - GAP > available and len(found[-1]) > len(keys):
                found.append(list(keys))
                used = start
            found[-1].append(i)
            used += width
        return found

    def print(self, console: Console) -> None:
        """Print it, in as many blocks as the width asks for."""
        for k, block in enumerate(self.blocks(console.width)):
            if k == 0 and self.title:
                console.print(f"[bold]{escape(self.title)}[/bold]")
            if k > 0:
                console.print()
            made = Table(header_style="dim", box=None, pad_edge=False, show_header=any(self.columns))
            too_wide = sum(self.width(i) + GAP for i in block) - GAP > console.width  # then letters go to the next line
            for i in block:
                text = self.columns[i] in self.sentences
                made.add_column(self.columns[i], justify="left" if text or self.left(i) else "right",
                                no_wrap=not (text or too_wide), overflow="fold")
            for cells, style in self.rows:
                made.add_row(*(cells[i] for i in block), style=style)
            console.print(made)

    def left(self, column: int) -> bool:
        """Whether a column holds words, which stand at the left, and not numbers."""
        return not any(is_number(Text.from_markup(row[column]).plain) for row, _ in self.rows)


def is_number(text: str) -> bool:
    """Whether a cell reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def print_pairs(console: Console | None, pairs: Iterable[tuple[str, str]]) -> None:
    """`label  text` lines with aligned texts, wrapped beside their labels in a terminal; texts are shown as they are."""
    if console is None:
        return
    pairs = list(pairs)
    made = Table.grid(padding=(0, GAP, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for label, text in pairs:
        made.add_row(escape(label), escape(text))
    console.print(made)
