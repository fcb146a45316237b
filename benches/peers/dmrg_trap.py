"""block2's DMRG beside `weylflow run` and `weylflow project` in the harmonic trap: CPU seconds to 1e-4 and 1e-5 Ha.

    python -m venv peers && peers/bin/pip install -r benches/peers/requirements.txt
    cargo build --release && peers/bin/python benches/peers/dmrg_trap.py [--repeats 3] [--sectors 6,0 10,0]

Soft-Coulomb repulsion, g = a = 1. The peer works on sine-DVR grids; half-widths, points and bond dimensions below were chosen by
hand around the cheapest that serves. Two figures of it for each error:

* "known": the cheapest of all grids and bond dimensions whose energy is within the error of the exact one, and stays there
  with the next better grid or the next larger bond dimension. The exact energy must be known to find it.
* "converged": all CPU seconds of a ladder of grids, each with its bond dimension, until two in a row differ by less than the error.

weylflow runs a short spec with default settings, and those of the spec in `runs/` where there is one, both without the
exact energy for comparison, and projects what comes out. The exact energy is that of `weylflow exact`, which must
agree with the best grid of the peer. One thread; of several repeats the least. What is not installed is skipped.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile

import common
from dmrg import HAMILTONIAN, block2

WANTED = (1e-4, 1e-5)
# Half-widths with points, from coarse to fine, and bond dimensions; the last of each are those of the best value.
GRIDS = {
    (6, 0): ([(4.8, 18), (5.2, 22), (5.6, 26), (6.0, 30), (7.0, 42)], [12, 20, 30, 40, 60]),
    (10, 0): ([(6.0, 28), (6.4, 32), (7.0, 39), (7.5, 45), (8.5, 58)], [16, 30, 40, 60, 100]),
}
SPECS = {(6, 0): "trap_six", (10, 0): "trap_ten"}
SPEC = """(
    title: "Trap",
    hamiltonian: Inline{hamiltonian},
    sector: (up: {up}, down: {down}),
    geometry: Line,
    reference: None,{more}
)
"""
# What the specs of `runs/` say beyond that.
SMALLER = """
    wavefunction: Weyl(),
    samples_per_iteration: 4096,
    iterations: 16,
    final_samples: {final},"""
FINAL = {"trap_six": 131072, "trap_ten": 65536}


def weylflow(sector, more):
    """Energies with error bars and CPU seconds of `run` and of `project`."""
    with tempfile.TemporaryDirectory() as folder:
        spec, out = os.path.join(folder, "trap.ron"), os.path.join(folder, "out")
        with open(spec, "w") as file:
            file.write(SPEC.format(hamiltonian=HAMILTONIAN, up=sector[0], down=sector[1], more=more))
        _, run_took = common.run([common.WEYLFLOW, "run", spec, "--out", out, "--threads", "1", "--quiet"])
        with open(os.path.join(out, "summary.json")) as file:
            summary = json.load(file)
        _, project_took = common.run([common.WEYLFLOW, "project", out, "--threads", "1", "--quiet"])
        with open(os.path.join(out, "projection.json")) as file:
            projection = json.load(file)
    return summary, run_took, projection, project_took


def scan(sector, exact, repeats):
    """The peer's table: for each grid and bond dimension error and least CPU seconds, and the time of the ladder to each error."""
    grids, bonds = GRIDS[sector]
    best, _ = block2(sector, *grids[-1], bonds[-1], tolerance=1e-8)
    print(f"  block2, best: {best:.9f}, {best - exact:+.1e} from exact")
    errors, seconds = {}, {}
    for (i, grid), (j, bond) in itertools.product(enumerate(grids[:-1]), enumerate(bonds[:-1])):
        tries = [block2(sector, *grid, bond, sweeps=10, tolerance=1e-6) for _ in range(repeats)]
        errors[i, j] = tries[0][0] - exact
        seconds[i, j] = min(t for _, t in tries)
    return grids, bonds, errors, seconds


def known(errors, seconds, wanted):
    """Where the cheapest is that reaches the error, and its neighbours too."""
    reached = lambda at: abs(errors.get(at, 0.0)) < wanted
    good = [(i, j) for i, j in errors if reached((i, j)) and reached((i + 1, j)) and reached((i, j + 1))]
    return min(good, key=seconds.get, default=None)


def ladder(errors, seconds, wanted):
    """CPU seconds, last rung and its error when two rungs in a row agree."""
    total, last = 0.0, None
    for k in range(min(max(i for i, _ in errors), max(j for _, j in errors)) + 1):
        total += seconds[k, k]
        if last is not None and abs(errors[k, k] - last) < wanted:
            return total, k, errors[k, k]
        last = errors[k, k]
    return None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--sectors", nargs="*", default=["6,0", "10,0"], help="spins up and down")
    parser.add_argument("--only-peer", action="store_true", help="without weylflow's runs")
    arguments = parser.parse_args()
    common.pin()
    for sector in (tuple(map(int, s.split(","))) for s in arguments.sectors):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trap.ron")
            with open(path, "w") as file:
                file.write(HAMILTONIAN)
            found, took = common.exact(path, "--up", str(sector[0]), "--down", str(sector[1]))
        exact = found["energies"][0]
        print(f"{sector}: exact {exact:.9f} +- {found['error_estimates'][0]:.0e} in {took:.1f} s", flush=True)
        try:
            grids, bonds, errors, seconds = scan(sector, exact, arguments.repeats)
        except ImportError as error:
            print(f"block2: skipped: {error}", file=sys.stderr)
        else:
            for i, grid in enumerate(grids[:-1]):
                row = [f"{errors[i, j]:+.0e} {seconds[i, j]:5.2f} s" for j in range(len(bonds) - 1)]
                print(f"  {grid!s:<10}", " | ".join(row))
            print(f"  {'bonds':<10}", bonds[:-1])
            for wanted in WANTED:
                at = known(errors, seconds, wanted)
                if at:
                    print(
                        f"  to {wanted:.0e}, known: {seconds[at]:.2f} s, grid {grids[at[0]]}, bond {bonds[at[1]]}, error {errors[at]:+.1e}"
                    )
                rungs = ladder(errors, seconds, wanted)
                if rungs:
                    total, k, error = rungs
                    print(
                        f"  to {wanted:.0e}, converged: {total:.2f} s, grid {grids[k]}, bond {bonds[k]}, error {error:+.1e}"
                    )
        sys.stdout.flush()
        if arguments.only_peer:
            continue
        runs = [("defaults", "")]
        if sector in SPECS:
            name = SPECS[sector]
            runs.append((name, SMALLER.format(final=FINAL[name])))
        for name, more in runs:
            summary, run_took, projection, project_took = weylflow(sector, more)
            for what, result, spent in (("run", summary, run_took), ("project", projection, project_took)):
                off = result["energy"] - exact
                print(
                    f"  weylflow {what} ({name}): {spent:.1f} s, error {off:+.1e} +- {result['standard_error']:.0e}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
