"""What the site adds to MkDocs: pages from the project's own folder, notebooks, and formulas as MathML.

Home is the README; CONTRIBUTING.md and its like become pages. Formulas are translated when the site is built, so that a
reader needs neither network nor script.
"""

import html
import re
import sys
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).resolve().parent))

from notebook_pages import page_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CODE_OF_CONDUCT.md": "code-of-conduct.md",
         "SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
CLAIMS = "# Claims\n\nThis page is made by `coldflow claims --all`. [Theory](theory.md#10-predictions) lists what is predicted.\n"
# Bars and slashes close up: browsers put spaces around them as around a relation.
TIGHT = re.compile(r"<mo[^>]*>(&#x0007C;|&#x0002F;|\||/)</mo>")
# A function and its argument are told apart by a thin space, unless a bracket does it.
FUNCTION = re.compile(r"(<mi>(?:log|ln|cos|sin|cosh|sinh|tanh|coth|dim)</mi>)(?!<mo[^>]*>(?:&#x00028;|\())")
# Commands that the translator does not know, in words that it does.
SPELLED = {r"\lvert": "|", r"\rvert": "|", r"\bigl": "", r"\bigr": "", r"\Bigl": "", r"\Bigr": "", r"\ll": "≪", r"\iint": "∬",
           r"\varepsilon": "ε", r"\in": "∈", r"\operatorname{div}": r"\mathrm{div}\,"}


def site_links(text, depth=""):
    """Links between files of the project as links between pages of the site; code and licence lose theirs."""
    def page(match):
        name = match[2].removeprefix("../").removeprefix("docs/")
        if name.endswith(".ipynb"):
            return match[1] + name.removesuffix(".ipynb") + ".md" + match[3]
        if name in PAGES:
            return match[1] + PAGES[name] + match[3]
        known = (ROOT / "docs" / name).exists()
        return match[1] + name + match[3] if known else match[0]
    text = re.sub(r"\[([^\]]+)\]\((?:\.\./)?(LICENSE|CITATION\.cff)\)", r"\1", text)
    return LINK.sub(page, text)


def on_files(files, config):
    """The pages that lie outside docs/, and a stand-in for claims that have not been measured."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, content=site_links((ROOT / source).read_text())))
    for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page_of(path)))
    if files.get_file_from_path("claims.md") is None:
        files.append(File.generated(config, "claims.md", content=CLAIMS))
    return files


def on_page_markdown(markdown, page, config, files):
    """Displayed formulas on lines of their own, and links to pages of the site."""
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.M | re.S)
    parts[::2] = [re.sub(r"\$\$(.+?)\$\$", r"\n\n$$\1$$\n\n", site_links(part), flags=re.S) for part in parts[::2]]
    return "".join(parts)


def formula(match):
    """One formula as MathML."""
    block, text = match[1] == "div", html.unescape(match[2])
    for old, new in SPELLED.items():
        text = re.sub(re.escape(old) + (r"(?![a-zA-Z])" if old[-1].isalpha() else ""), lambda _, new=new: new, text)
    found = convert(text, display="block" if block else "inline")
    found = FUNCTION.sub(r'\1<mspace width="0.17em"></mspace>', found)
    found = TIGHT.sub(r'<mo lspace="0" rspace="0" stretchy="false">\1</mo>', found)
    return f'<div class="math-block">{found}</div>' if block else found


def on_page_content(content, page, config, files):
    """Formulas drawn."""
    return FORMULA.sub(formula, content)
