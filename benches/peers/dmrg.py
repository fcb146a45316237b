"""`weylflow exact --method mps` beside block2, on this machine and in this run: CPU time on one thread and error.

    python -m venv peers && peers/bin/pip install -r benches/peers/requirements.txt
    cargo build --release && peers/bin/python benches/peers/dmrg.py

Equal and opposite spins in a harmonic trap with soft-Coulomb interaction, g = a = 1. block2 gets one sine-DVR grid and a
start from the classical positions, with settings by hand: grid and bond dimension are not checked, which weylflow
does (several grids; its figure is the whole command). Errors are against the value that both are refined to.
"""

import os
import tempfile
import time

import common
import numpy as np

# Particles of each spin, half-width, points, bond dimension, tolerance of weylflow.
CASES = [
    ((6, 0), 7.0, 48, 80, 1e-7),
    ((8, 0), 8.0, 56, 100, 1e-6),
    ((10, 0), 8.5, 62, 120, 1e-6),
    ((16, 0), 10.5, 84, 160, 1e-6),
    ((3, 3), 7.0, 46, 250, 1e-6),
]
HAMILTONIAN = "(external: Harmonic(frequency: 1), interaction: SoftCoulomb(strength: 1, softening: 1))"


def weylflow(sector, tolerance):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trap.ron")
        with open(path, "w") as file:
            file.write(HAMILTONIAN)
        options = ["--method", "mps", "--tolerance", str(tolerance)]
        result, took = common.exact(path, "--up", str(sector[0]), "--down", str(sector[1]), *options)
        return result["energies"][0], result["error_estimates"][0], took


def block2(sector, half_width, n, bond, sweeps=16, tolerance=1e-9):
    """The energy on one grid with one bond dimension, and CPU seconds: integrals, operator and sweeps."""
    from pyblock2.driver.core import DMRGDriver, SymmetryTypes

    start = time.process_time()
    up, down = sector
    x, t = common.sine_dvr(n, half_width)
    one = t + np.diag(0.5 * x**2)
    w = 1 / np.sqrt((x[:, None] - x[None, :]) ** 2 + 1)
    # Of one spin only, sites of two states instead of four.
    symmetry = SymmetryTypes.SZ if down else SymmetryTypes.SGF
    spins = ["cd", "CD"] if down else ["CD"]
    with tempfile.TemporaryDirectory() as scratch:
        driver = DMRGDriver(scratch=scratch, symm_type=symmetry, n_threads=1)
        driver.initialize_system(n_sites=n, n_elec=up + down, spin=up - down if down else 0)
        b = driver.expr_builder()
        for s in spins:
            for i in range(n):
                for j in range(n):
                    b.add_term(s, [i, j], one[i, j])
        for s in spins:
            for i in range(n):
                for j in range(n):
                    if i != j:
                        b.add_term(s[0] * 2 + s[1] * 2, [i, j, j, i], 0.5 * w[i, j])
        if down:
            for i in range(n):
                for j in range(n):
                    b.add_term("cCDd", [i, j, j, i], w[i, j])
        mpo = driver.get_mpo(b.finalize(), iprint=0)
        filled = np.zeros(n)
        for count, shift in ((up, 0.25 if down else 0.5), (down, 0.75)):
            for k in range(count):
                place = 1.6 * np.sqrt(2 * (up + down)) * ((k + shift) / count - 0.5)
                filled[np.argmin(np.abs(x - place) + 9 * filled)] += 1
        ket = driver.get_random_mps(tag="KET", bond_dim=min(40, bond), nroots=1, occs=filled)
        first = sweeps // 4
        energy = driver.dmrg(
            mpo,
            ket,
            n_sweeps=sweeps,
            bond_dims=[max(bond // 2, min(40, bond))] * first + [bond] * (sweeps - first),
            noises=[1e-4] * first + [1e-5] * first + [0],
            thrds=[max(1e-8, 0.1 * tolerance)] * sweeps,
            tol=tolerance,
            iprint=0,
        )
    return energy, time.process_time() - start


def main():
    common.pin()
    print(f"{'sector':<8} {'weylflow':>16} {'+-':>8} {'CPU s':>7} {'block2, one grid':>18} {'CPU s':>7}")
    for sector, half_width, n, bond, tolerance in CASES:
        energy, error, took = weylflow(sector, tolerance)
        try:
            other, other_took = block2(sector, half_width, n, bond)
        except ImportError:
            other, other_took = float("nan"), float("nan")
        print(f"{sector!s:<8} {energy:>16.9f} {error:>8.0e} {took:>7.1f} {other:>18.9f} {other_took:>7.1f}")


if __name__ == "__main__":
    main()
