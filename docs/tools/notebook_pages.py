"""Executed notebooks as pages of the site: text as it stands, code in fences, and what it printed and drew."""

import html
import json
from pathlib import Path

# What a cell showed, the richest first.
KINDS = ("text/html", "image/png", "text/plain")


def page_of(path: Path) -> str:
    """The Markdown page of a notebook file."""
    notebook = json.loads(path.read_text())
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            parts += [shown for output in cell["outputs"] if (shown := output_of(output))]
    note = f"*This page is the notebook `docs/notebooks/{path.name}`, run from top to bottom.*"
    title, _, rest = parts[0].partition("\n")
    return "\n\n".join([title, note, rest.strip(), *parts[1:]]) + "\n"


def output_of(output: dict) -> str:
    """One output of a cell as Markdown or HTML; empty where there is nothing to show."""
    if output["output_type"] == "stream":
        return printed("".join(output["text"]))
    data = output.get("data", {})
    kind = next((kind for kind in KINDS if kind in data), None)
    if kind is None:
        return ""
    content = "".join(data[kind])
    if kind == "text/html":
        return f'<div class="output">{content}</div>'
    if kind == "image/png":
        return f'<p><img alt="drawn by the cell above" src="data:image/png;base64,{content.strip()}"></p>'
    return printed(content)


def printed(text: str) -> str:
    """Text as it was printed."""
    return f'<pre class="output">{html.escape(text.rstrip())}</pre>'
