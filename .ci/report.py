#!/usr/bin/env python3
"""Whether report pages are sound: .ci/report.py PAGE..

Ids are unique, every figure has a size, and what a page refers to is there, within it and beside it.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

REFERS = ("aria-labelledby", "aria-describedby", "for", "headers")


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.path, self.ids, self.asked, self.files, self.wrong, self.figures = path, set(), [], [], [], 0
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        self.wrong += [f"nothing has the id `{name}`" for name in self.asked if name not in self.ids]
        self.wrong += [f"the link {name} leads nowhere" for name in self.files if not (path.parent / name).exists()]

    def handle_starttag(self, tag, attributes):
        found = {name: value or "" for name, value in attributes}
        if "id" in found:
            if found["id"] in self.ids:
                self.wrong.append(f"the id `{found['id']}` is there twice")
            self.ids.add(found["id"])
        if tag == "svg":
            self.figures += 1
            box = [float(number) for number in found.get("viewbox", "").split()]
            sides = box[2:] if len(box) == 4 else [float(found.get(side, 0)) for side in ("width", "height")]
            if not all(side > 0 for side in sides):
                self.wrong.append(f"line {self.getpos()[0]}: a figure without a size")
        for name in REFERS:
            self.asked += found.get(name, "").split()
        for value in found.values():
            self.asked += re.findall(r"url\(#([^)]+)\)", value)
        link = found.get("href", "")
        if link.startswith("#"):
            self.asked.append(link[1:])
        elif link and not link.startswith(("http", "mailto", "data")):
            self.files.append(link.split("#")[0])


def main():
    wrong = []
    for name in sys.argv[1:]:
        page = Page(Path(name))
        wrong += [f"{name}: {what}" for what in page.wrong]
        if not page.figures:
            wrong.append(f"{name}: no figure")
    if wrong or not sys.argv[1:]:
        sys.exit("\n".join(wrong) or "no pages")
    print(f"{len(sys.argv) - 1} pages are sound")


if __name__ == "__main__":
    main()
