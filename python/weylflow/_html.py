"""The head of a run's report for notebooks."""

from __future__ import annotations

from html import escape

import numpy as np


def head(run) -> str:
    """A table of the energy and its verdict, and the density."""
    s = run.summary
    rows = [
        ("energy", f"{run.energy:.10g} ± {run.standard_error:.1g} Ha"),
        ("variance", f"{s['variance']:.2e} Ha²"),
        ("verdict", run.verdict),
    ]
    if run.reference:
        rows.append(("exact", f"{run.reference['energy']:.10g} Ha ({run.reference['source']})"))
        rows.append(("deviation", f"{run.reference['deviation']:+.1e} Ha"))
    rows += [("failed: " + c["headline"], c["detail"]) for c in run.checks if not c["passed"]]
    table = "".join(f"<tr><th style='text-align:left'>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in rows)
    return f"<h4>{escape(s['title'])}</h4><table>{table}</table>{_density(run)}"


def _density(run, width=420, height=140) -> str:
    edges = run.density["edges"]
    x = 0.5 * (edges[1:] + edges[:-1])
    curves = [(run.density[spin][:, 0], colour) for spin, colour in (("up", "#2a6f97"), ("down", "#c1666b"))
              if len(run.density[spin])]
    top = max((float(np.max(y)) for y, _ in curves), default=0.0)
    if not top > 0:
        return ""
    def line(y, colour):
        u = (x - edges[0]) / (edges[-1] - edges[0]) * width
        v = height - 0.95 * height * y / top
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(u, v))
        return f"<polyline points='{points}' fill='none' stroke='{colour}'/>"
    lines = "".join(line(y, c) for y, c in curves)
    return (f"<svg width='{width}' height='{height}' role='img' aria-label='density from {edges[0]:.3g} to {edges[-1]:.3g} bohr'>"
            f"{lines}</svg>")
