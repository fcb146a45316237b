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


def head_of_several(run) -> str:
    """A table of the levels, or of the thermal functions."""
    s = run.summary
    if run.states:
        names = ["state", "energy / Ha", "above the lowest / Ha", "exact / Ha"]
        exact = [f"{k.reference['energy']:.9g}" if k.reference else "" for k in run.states]
        rows = [
            (str(k.number), f"{k.energy:.9g} ± {k.standard_error:.1g}", f"{gap:.8g} ± {error:.1g}", known)
            for k, (gap, error), known in zip(run.states, run.gaps, exact)
        ]
    else:
        names = ["kT / Ha", "F / Ha", "E / Ha", "S / k", "C / k"]
        number = lambda m: f"{m['value']:.8g}" + (f" ± {m['standard_error']:.1g}" if m["standard_error"] else "")  # noqa: E731
        of = ("free_energy", "energy", "entropy", "heat_capacity")
        rows = [(f"{t['kT']:.6g}", *(number(t[name]) for name in of)) for t in run.sweep]
    cells = lambda row, tag: "".join(f"<{tag}>{escape(c)}</{tag}>" for c in row)  # noqa: E731
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    failed = "".join(f"<p>{escape(c['headline'])}: {escape(c['detail'])}</p>" for c in run.checks if not c["passed"])
    return f"<h4>{escape(s['title'])}: {escape(run.verdict)}</h4><table><tr>{cells(names, 'th')}</tr>{body}</table>{failed}"


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
