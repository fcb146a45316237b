#!/usr/bin/env python3
"""Runs every command of the book and holds its output against what the book prints.

    docs/book/build.py            check: fails where an output has changed or a link is broken
    docs/book/build.py --update   writes the outputs into the book

Needs `cargo build --release` before. A block ```sh is a list of commands, run in the root of the repository with `weylflow` in the path; the
block ```text after it is what they print. Times, the number of threads, and digits that are rounding are not compared.
"""

import difflib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parents[1]
BLOCK = re.compile(r"```sh\n(.*?)```\n\n```text\n(.*?)```", re.S)
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
# What differs from one machine or day to the next: times and sizes, small numbers that are rounding, and what is relative to them.
VARIES = re.compile(r"\d+(\.\d+)? ?(s|ms|min|MiB|GiB)\b|\d+ threads?|[-+]?\d+(\.\d+)?e[-+]?\d+|[-+]\d+\.\d+ error bars")
LONG = re.compile(r"(\d+\.\d{7})\d+(\(\d+\))?")


def plain(text):
    return LONG.sub(r"\1", VARIES.sub("..", text)).splitlines()


def places(page):
    """The headings of a page, as links name them, and its anchors."""
    text = page.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings} | set(re.findall(r'<a id="([^"]+)">', text))


def output(commands):
    path = f"{ROOT / 'target' / 'release'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", commands], cwd=ROOT, env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
    )
    if done.returncode:
        sys.exit(f"{commands}\nexit code {done.returncode}\n{done.stderr}")
    return done.stdout


def main():
    update = "--update" in sys.argv[1:]
    shutil.rmtree(ROOT / "out" / "book", ignore_errors=True)
    wrong = []
    # In the order of the contents: later chapters use what earlier ones made.
    contents = (BOOK / "SUMMARY.md").read_text()
    for name in [n for n, _ in LINK.findall(contents) if "/" not in n]:
        page = BOOK / name
        text = page.read_text()

        def block(match):
            commands, printed = match.groups()
            found = output(commands)
            before, now = plain(printed), plain(found)
            if not update and before != now:
                wrong.append("\n".join(difflib.unified_diff(before, now, page.name, "now", lineterm="")))
            return f"```sh\n{commands}```\n\n```text\n{found}```"

        new = BLOCK.sub(block, text)
        if update:
            page.write_text(new)
    pages = [*BOOK.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "python" / "README.md"]
    for page in pages:
        for link, place in LINK.findall(page.read_text()):
            if link.startswith(("http", "mailto")):
                continue
            to = page.parent / link if link else page
            if not to.exists():
                wrong.append(f"{page.name}: the link {link} leads nowhere")
            elif place and place not in places(to):
                wrong.append(f"{page.name}: the link {link}#{place} leads nowhere within the page")
    if wrong:
        sys.exit("\n".join(wrong))
    print("the book is as it prints")


if __name__ == "__main__":
    main()
