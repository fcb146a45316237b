"""What a run says while it goes on, in a terminal or a notebook."""

from __future__ import annotations

import sys
from contextlib import contextmanager


@contextmanager
def reporter(progress):
    """A callable for the native half, or None."""
    if not progress:
        yield None
        return
    if callable(progress):
        yield progress
        return
    width = 0

    def show(line, end=""):
        nonlocal width
        # A carriage return works in terminals and notebooks alike.
        sys.stderr.write("\r" + line.ljust(width) + end)
        sys.stderr.flush()
        width = 0 if end else len(line)

    def tell(event, value):
        if event == "iteration":
            done, of, energy, error, seconds = value
            bar = "━" * (20 * done // max(of, 1))
            show(f"{bar:<20} {done}/{of}  E = {energy:.7g} ± {error:.1g} Ha  {seconds:.0f} s")
        elif event in ("message", "phase"):
            show(str(value), "\n")
        elif event == "trained":
            show("", "\n")

    try:
        yield tell
    finally:
        if width:
            sys.stderr.write("\n")
