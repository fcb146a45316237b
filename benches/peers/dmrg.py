"""`weylflow exact --method mps` beside block2, on this machine and in this run: CPU time on one thread and error.

    python -m venv peers && peers/bin/pip install -r benches/peers/requirements.txt
    cargo build --release && peers/bin/python benches/peers/dmrg.py

Equal and opposite spins in a harmonic trap with soft-Coulomb interaction, g = a = 1. block2 gets one sine-DVR grid and a
start from the classical positions, with settings by hand: grid and bond dimension are not checked, which weylflow
does (several grids; its figure is the whole command). Errors are against the value that both are refined to.
"""

import json
import os
import resource
import subprocess
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

# Particles of each spin, half-width, points, bond dimension, tolerance of weylflow.
CASES = [
    ((6, 0), 7.0, 48, 80, 1e-7),
    ((8, 0), 8.0, 56, 100, 1e-6),
    ((10, 0), 8.5, 62, 120, 1e-6),
    ((16, 0), 10.5, 84, 160, 1e-6),
    ((3, 3), 7.0, 46, 250, 1e-6),
]
HAMILTONIAN = '(external: Harmonic(frequency: 1), interaction: SoftCoulomb(strength: 1, softening: 1))'


def weylflow(sector, tolerance):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trap.ron")
        with open(path, "w") as file:
            file.write(HAMILTONIAN)
        command = ["target/release/weylflow", "exact", path, "--json", "--threads", "1", "--method", "mps"]
        command += ["--up", str(sector[0]), "--down", str(sector[1]), "--tolerance", str(tolerance)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        took = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        result = json.loads(out)
        return result["energies"][0], result["error_estimates"][0], took


def kinetic(n, half_width):
    """Sine DVR (Colbert and Miller 1992)."""
    i, j = np.meshgrid(np.arange(1, n + 1), np.arange(1, n + 1), indexing="ij")
    cells = n + 1
    with np.errstate(divide="ignore"):
        square = lambda k: 1 / np.sin(np.pi * k / (2 * cells)) ** 2
        t = (-1.0) ** (i - j) * (square(i - j) - square(i + j))
    k = np.arange(1, n + 1)
    np.fill_diagonal(t, (2 * cells**2 + 1) / 3 - 1 / np.sin(np.pi * k / cells) ** 2)
    return 0.25 * (np.pi / (2 * half_width)) ** 2 * t


def block2(sector, half_width, n, bond):
    from pyblock2.driver.core import DMRGDriver, SymmetryTypes

    start = time.process_time()
    h = 2 * half_width / (n + 1)
    x = -half_width + h * np.arange(1, n + 1)
    one = kinetic(n, half_width) + np.diag(0.5 * x**2)
    w = 1 / np.sqrt((x[:, None] - x[None, :]) ** 2 + 1)
    with tempfile.TemporaryDirectory() as scratch:
        driver = DMRGDriver(scratch=scratch, symm_type=SymmetryTypes.SZ, n_threads=1)
        up, down = sector
        driver.initialize_system(n_sites=n, n_elec=up + down, spin=up - down)
        b = driver.expr_builder()
        spins = ["cd"] + (["CD"] if down else [])
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
        ket = driver.get_random_mps(tag="KET", bond_dim=40, nroots=1, occs=filled)
        dims = [bond // 2] * 4 + [bond] * 12
        noises = [1e-4] * 4 + [1e-5] * 4 + [0]
        energy = driver.dmrg(
            mpo, ket, n_sweeps=16, bond_dims=dims, noises=noises, thrds=[1e-8] * 16, tol=1e-9, iprint=0
        )
    return energy, time.process_time() - start


def main():
    print(f"{'sector':<8} {'weylflow':>16} {'+-':>8} {'CPU s':>7} {'block2, one grid':>18} {'CPU s':>7}")
    for sector, half_width, n, bond, tolerance in CASES:
        energy, error, took = weylflow(sector, tolerance)
        try:
            other, other_took = block2(sector, half_width, n, bond)
        except ImportError:
            other, other_took = float("nan"), float("nan")
        print(
            f"{str(sector):<8} {energy:>16.9f} {error:>8.0e} {took:>7.1f} {other:>18.9f} {other_took:>7.1f}"
        )


if __name__ == "__main__":
    main()
