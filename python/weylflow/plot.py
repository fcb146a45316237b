"""Pictures with matplotlib (``pip install weylflow[plot]``). Each function draws into ``ax`` or a new figure and returns
the axes."""

from __future__ import annotations


def _axes(ax):
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("weylflow.plot needs matplotlib: pip install weylflow[plot]") from error
    return plt.subplots()[1]


def curve(run, ax=None):
    """Energy along the training, with the exact energy where it is known."""
    ax = _axes(ax)
    energy, error = run.iterations["energy"], run.iterations["standard_error"]
    ax.errorbar(range(len(energy)), energy, yerr=error, fmt=".-", label="training")
    ax.axhspan(run.energy - run.standard_error, run.energy + run.standard_error, alpha=0.3, label="final estimate")
    if run.reference:
        ax.axhline(run.reference["energy"], color="black", lw=1, label="exact")
    ax.set(xlabel="iteration", ylabel="energy (Ha)", title=run.summary["title"])
    ax.legend()
    return ax


def density(run, ax=None):
    """One-body density of each spin with its error bars, and the exact one where it is known."""
    ax = _axes(ax)
    edges = run.density["edges"]
    x = 0.5 * (edges[1:] + edges[:-1])
    for spin in ("up", "down"):
        rows = run.density[spin]
        if len(rows):
            ax.errorbar(x, rows[:, 0], yerr=rows[:, 1], fmt=".", label=f"spin {spin}")
            if run.reference_density is not None:
                ax.plot(run.reference_density["x"], run.reference_density[spin], lw=1, label=f"spin {spin}, exact")
    ax.set(xlabel="x (bohr)", ylabel="density (1/bohr)", title=run.summary["title"])
    ax.legend()
    return ax


def levels(result, ax=None):
    """A level scheme: exact energies of a sector, or those of a run of several states beside the exact ones."""
    ax = _axes(ax)
    if hasattr(result, "states"):
        for state in result.states:
            ax.errorbar(0.25, state.energy, yerr=state.standard_error, fmt="_", ms=60, color="C0")
            if state.reference:
                ax.hlines(state.reference["energy"], 0.5, 1, color="black")
            ax.annotate(f"{getattr(state, 'number', 0)}", (1.02, state.energy), va="center")
        ax.set(ylabel="energy (Ha)", xticks=[0.25, 0.75], xticklabels=["run", "exact"], xlim=(-0.2, 1.4))
        return ax
    for k, energy in enumerate(result.energies):
        ax.hlines(energy, 0, 1)
        ax.annotate(f"{k}", (1.02, energy), va="center")
    ax.set(ylabel="energy (Ha)", xticks=[], xlim=(-0.2, 1.4))
    return ax
