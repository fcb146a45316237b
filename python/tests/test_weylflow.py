"""The package against exact energies, and against the bytes of the command line."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import weylflow as wf

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "target" / "release" / "weylflow"
SMALL = dict(iterations=3, samples_per_iteration=512, final_samples=4096, seed=3)


def trap(**fields):
    hamiltonian = wf.Hamiltonian(external=wf.Harmonic(frequency=1), interaction=wf.SoftCoulomb(strength=1))
    return wf.Spec(**{**dict(title="two", hamiltonian=hamiltonian, sector=(2, 0), geometry=wf.Line, **SMALL), **fields})


@pytest.fixture(scope="module")
def run():
    return wf.run(trap())


def test_the_energy_is_that_of_exact_diagonalisation(run):
    exact = wf.exact(trap())
    assert abs(run.energy - exact.energy) < 4 * run.standard_error + 1e-6
    assert_allclose(run.reference["energy"], exact.energy, atol=1e-8)
    assert run.verdict == "Good", run.checks
    assert exact.converged and exact.error_estimates[0] < 1e-6
    assert_allclose(sum(exact.components.values()), exact.energy, atol=1e-6)


def test_samples_and_values_fit_each_other(run):
    x, energy = run.state.sample_with_energy(2000, seed=1)
    assert x.shape == (2000, 2) and x.dtype == np.float64
    assert (x[:, 0] < x[:, 1]).all()
    assert_array_equal(x, run.state.sample(2000, seed=1))
    assert_allclose(run.state.local_energy(x), energy, rtol=1e-9)
    log, sign = run.state.log_psi(x)
    swapped, opposite = run.state.log_psi(x[:, ::-1])
    assert_array_equal(log, swapped)
    assert_array_equal(sign, -opposite)
    # The gradient is the slope of the logarithm.
    step = 1e-5
    for particle in range(2):
        moved = [x + s * np.eye(2)[particle] for s in (step, -step)]
        slope = (run.state.log_psi(moved[0])[0] - run.state.log_psi(moved[1])[0]) / (2 * step)
        good = np.abs(x[:, 1] - x[:, 0]) > 0.1
        assert_allclose(run.state.gradient(x)[good, particle], slope[good], atol=1e-6)


def test_results_pickle(run):
    again = pickle.loads(pickle.dumps(run))
    assert again.summary == run.summary
    assert_array_equal(again.state.sample(10, 2), run.state.sample(10, 2))
    assert "energy" in again._repr_html_() and "svg" in again._repr_html_()


def test_observables_have_errors_and_axes(run):
    found = wf.measure(run, ["position", "density"], samples=4096, replicates=16)
    assert found
    for quantity in found.values():
        shape = np.shape(quantity["values"])
        assert quantity["errors"] is None or np.shape(quantity["errors"]) == shape
        assert len(quantity["axes"]) == len(shape)
    with pytest.raises(wf.SpecError, match="no observable"):
        wf.measure(run, "nothing")


def test_a_projection_is_exact(run):
    found = wf.project(run, walkers=64, replicates=16, observables=[])
    assert not found["refusals"]
    assert abs(found["energy"] - run.reference["energy"]) < 5 * found["standard_error"] + 1e-6


def test_errors_are_located():
    with pytest.raises(wf.SpecError, match=r"(?s)line.*frequenc.*frequency|frequency.*frequenc"):
        wf.check(trap(hamiltonian=wf.Hamiltonian(external=wf.Harmonic(frequenc=1), interaction=wf.Nothing)))
    with pytest.raises(wf.SpecError, match="absent.ron"):
        wf.run("absent.ron")
    with pytest.raises(wf.RunError, match="finished"):
        wf.load("absent")


def test_folders_are_not_written_over(tmp_path):
    first = wf.run(trap(), out=tmp_path / "a")
    with pytest.raises(wf.RunError):
        wf.run(trap(), out=tmp_path / "a")
    assert wf.run(trap(), out=tmp_path / "a", resume=True).energy == first.energy
    assert wf.load(tmp_path / "a").energy == first.energy


@pytest.mark.skipif(not BINARY.exists(), reason="the command line is not built")
def test_the_bytes_are_those_of_the_command_line(tmp_path):
    spec = tmp_path / "spec.ron"
    spec.write_text(trap().to_ron())
    subprocess.run([BINARY, "run", spec, "--out", tmp_path / "b", "--quiet"], check=True)
    wf.run(spec, out=tmp_path / "a")
    for name in ["energy.csv", "density.csv", "wavefunction", "spec.ron"]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    table = np.genfromtxt(tmp_path / "b" / "energy.csv", delimiter=",", names=True, comments="#")
    assert_array_equal(table["energy"], wf.load(tmp_path / "b").iterations["energy"])


def test_ctrl_c_stops_and_nothing_is_lost(tmp_path):
    spec = trap(iterations=2000, stopping=wf.ron.Word("Never"))
    seen = []

    def tell(event, value):
        if event == "iteration":
            seen.append(value[0])
            if len(seen) == 3:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        wf.run(spec, out=tmp_path / "a", progress=tell)
    assert len(seen) < 10
    assert (tmp_path / "a" / "checkpoint").exists()
    more = wf.run(spec.replace(iterations=len(seen) + 2), out=tmp_path / "a", resume=True)
    assert more.summary["iterations"] == len(seen) + 2


def test_other_threads_go_on(run):
    ticks = []
    stop = threading.Event()
    thread = threading.Thread(target=lambda: [ticks.append(1) for _ in iter(lambda: stop.wait(0.01), True)])
    thread.start()
    run.state.sample(400_000, seed=5)
    stop.set()
    thread.join()
    assert len(ticks) > 3


def test_a_full_device_is_an_error(tmp_path):
    if not os.path.exists("/dev/full") or shutil.which("true") is None:
        pytest.skip("no full device")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(wf.RunError):
        wf.run(trap(), out=tmp_path / "file")


def test_plots():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    result = wf.run(trap())
    assert wf.plot.curve(result) and wf.plot.density(result)
    assert wf.plot.levels(wf.exact(trap(), states=2))
    json.dumps(result.summary)


def test_a_scan_is_a_curve_in_arrays(tmp_path):
    hamiltonian = wf.Hamiltonian(external=wf.Formula("k*x^2/2"), interaction=wf.SoftCoulomb(strength=1))
    values = dict(parameter="k", values=wf.List([1, 2, -1]), method=wf.Independent)
    spec = trap(hamiltonian=hamiltonian, parameters={"k": 1.0}, scan=values)
    curve = wf.scan(spec, out=tmp_path / "scan")
    assert_array_equal(curve.values, [1, 2, -1])
    good = slice(0, 2)
    assert (np.abs(curve.energies - curve["reference"])[good] < 4 * curve.errors[good] + 1e-6).all()
    bars = np.abs(curve.derivatives - curve["reference_derivative"]) / curve["derivative_error"]
    assert (bars[good] < 4).all() and (curve["derivative_error"][good] < 1e-2).all()
    assert np.isnan(curve.energies[2]) and curve["verdict"][2] == "failed" and curve.verdict == "Failed"
    assert (tmp_path / "scan" / "curve.csv").read_text().splitlines()[0].split(",") == list(curve.columns)
    # One point of it is a run like any other.
    assert wf.load(tmp_path / "scan" / "points" / "01").energy == curve.energies[0]
    with pytest.raises(wf.RunError, match="not empty|holds"):
        wf.scan(spec, out=tmp_path / "scan")
    again = wf.scan(spec, out=tmp_path / "scan", resume=True)
    assert_array_equal(again.energies, curve.energies)
    with pytest.raises(wf.SpecError, match="no `scan`"):
        wf.scan(trap())
