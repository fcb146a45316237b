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


def interrupted(call, after=0.5):
    """Whether Ctrl-C ends a call that would take hours."""
    timer = threading.Timer(after, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        timer.cancel()


def test_ctrl_c_ends_long_calls(run):
    interrupted(lambda: run.state.sample(10**9, seed=1))
    x = run.state.sample(1000, seed=1)
    interrupted(lambda: run.state.evaluate(np.tile(x, (5000, 1))))
    interrupted(lambda: wf.measure(run, ["energy"], samples=5 * 10**7, replicates=512))
    interrupted(lambda: wf.project(run, walkers=1000, replicates=512))
    # The calls that were ended have spoilt nothing.
    assert_array_equal(run.state.sample(1000, seed=1), x)


def test_ctrl_c_ends_exact_calls():
    hard = wf.Spec(
        title="hard", sector=(3, 3), geometry=wf.Line,
        hamiltonian=wf.Hamiltonian(external=wf.Harmonic(), interaction=wf.SoftCoulomb(strength=5, softening=0.2)),
    )
    interrupted(lambda: wf.exact(hard, tolerance=1e-12, states=10))
    interrupted(lambda: wf.exact(hard, temperature=3.0, tolerance=1e-14))


def test_other_threads_go_on(run):
    ticks = []
    stop = threading.Event()
    thread = threading.Thread(target=lambda: [ticks.append(1) for _ in iter(lambda: stop.wait(0.01), True)])
    thread.start()
    run.state.sample(400_000, seed=5)
    stop.set()
    thread.join()
    assert len(ticks) > 3


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(wf.RunError, match="file"):
        wf.run(trap(), out=tmp_path / "file")


@pytest.mark.skipif(os.name != "posix", reason="limits of files are those of Unix")
def test_a_full_disk_is_an_error_and_nothing_is_lost(tmp_path):
    import resource

    undisturbed = wf.run(trap(), out=tmp_path / "whole")
    results = sorted(p.name for p in (tmp_path / "whole").iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max((tmp_path / "whole" / name).stat().st_size for name in ("checkpoint", "energy.csv"))
    # Room for the checkpoint, none for the report: as on a disk that is nearly full. Python ignores the signal.
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 256, hard))
    try:
        with pytest.raises(wf.RunError, match=r"(?s)cannot write `.*File too large") as raised:
            wf.run(trap(), out=tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(tmp_path / "full") in str(raised.value)
    # What had been computed is there, and the same call goes on from it.
    assert (tmp_path / "full" / "checkpoint").exists()
    again = wf.run(trap(), out=tmp_path / "full", resume=True)
    assert again.energy == undisturbed.energy
    assert results == sorted(p.name for p in (tmp_path / "full").iterdir() if p.name in results)
    for name in ["energy.csv", "density.csv", "wavefunction", "spec.ron"]:
        assert (tmp_path / "full" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    # Results that were to be replaced are untouched where the new ones find no room.
    before = (tmp_path / "full" / "wavefunction").read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 256, hard))
    try:
        with pytest.raises(wf.RunError):
            wf.run(trap(seed=4), out=tmp_path / "full", overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "full" / "wavefunction").read_bytes() == before


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


@pytest.fixture(scope="module")
def levels(tmp_path_factory):
    spec = trap(states=dict(count=3, weights=wf.Equal), samples_per_iteration=1024)
    return wf.run(spec, out=tmp_path_factory.mktemp("states") / "a")


def test_several_states_are_states_like_any_other(levels):
    exact = wf.exact(trap(), states=3)
    assert len(levels.states) == 3 and levels.verdict == "Good", levels.checks
    assert (np.abs(levels.energies - exact.energies) < 5 * levels.errors + 1e-6).all()
    # The centre of mass excited once: one quantum of the trap, whatever the interaction.
    assert levels.gaps.shape == (3, 2) and abs(levels.gaps[1, 0] - 1) < 5 * levels.gaps[1, 1] + 1e-6
    for k, one in enumerate(levels.states):
        assert one.number == k and abs(one.reference["energy"] - exact.energies[k]) < 1e-7
        x, energy = one.state.sample_with_energy(4096, seed=1)
        assert abs(energy.mean() - exact.energies[k]) < 5 * energy.std() / 64 + 1e-5
        width = np.diff(one.density["edges"])
        assert_allclose((one.density["up"] * width).sum(), 2, atol=0.05)
        found = wf.measure(one, ["energy"], samples=4096, replicates=16)["energy"]
        assert abs(found["values"] - exact.energies[k]) < 6 * found["errors"] + 1e-5
    first, second = (one.state for one in levels.states[:2])
    x = first.sample(4096, seed=2)
    overlap = np.exp(second.log_psi(x)[0] - first.log_psi(x)[0]) * second.log_psi(x)[1] * first.log_psi(x)[1]
    assert abs(overlap.mean()) < 5 * overlap.std() / 64
    assert {(t["from"], t["to"]) for t in levels.transitions} == {(0, 1), (0, 2), (1, 2)}
    # All of the dipole strength goes to the centre of mass: |<0| sum x |1>|² = n/2.
    assert abs(levels.transitions[0]["dipole"] - 1) < 1e-3


def test_a_folder_of_states_is_read_back(levels):
    again = wf.load(levels.folder)
    assert again.summary == levels.summary
    assert_array_equal(again.states[2].state.sample(10, 1), levels.states[2].state.sample(10, 1))
    thawed = pickle.loads(pickle.dumps(levels))
    assert_array_equal(thawed.states[1].state.sample(10, 1), levels.states[1].state.sample(10, 1))
    assert_array_equal(pickle.loads(pickle.dumps(levels.states[1].state)).sample(10, 1), levels.states[1].state.sample(10, 1))
    resumed = wf.run(trap(states=dict(count=3, weights=wf.Equal), samples_per_iteration=1024), out=levels.folder, resume=True)
    assert_array_equal(resumed.energies, levels.energies)
    assert "<table>" in levels._repr_html_() and "EnsembleRun" in repr(levels)
    with pytest.raises(wf.RunError, match="3 states: choose one, from 0 to 2"):
        wf.measure(levels)
    with pytest.raises(wf.RunError, match="ground state"):
        wf.project(levels.states[1])


def test_one_state_has_the_words_of_several(run):
    assert run.states[0].energy == run.energy and run.states[0].state is run.state


def test_a_temperature_is_that_of_the_sum_over_states():
    spec = trap(temperature=dict(kT=0.5), samples_per_iteration=1024)
    warm, exact = wf.run(spec), wf.exact(trap(), temperature=0.5)
    assert not warm.states and warm.thermal["kT"] == 0.5 and len(warm.sweep) == 1
    for name in ("free_energy", "energy", "entropy", "heat_capacity"):
        found = warm.thermal[name]
        allowed = 5 * found["standard_error"] + exact.error_estimates[name] + 1e-4
        assert abs(found["value"] - getattr(exact, name)) < allowed, name
    assert exact.converged and exact.kT == 0.5
    # F = E - kT S.
    assert_allclose(exact.free_energy, exact.energy - 0.5 * exact.entropy, atol=1e-7)
    assert "free" not in warm.density and "up" in warm.density
    assert "<table>" in warm._repr_html_()
    # Averages over the ensemble have its energy.
    energy = wf.measure(warm, "energy", samples=8192, replicates=16)["energy"]
    assert abs(energy["values"] - exact.energy) < 5 * energy["errors"] + 1e-4
    with pytest.raises(wf.SpecError, match="temperature: must be positive|must be positive"):
        wf.exact(trap(), temperature=-1.0)
    sweep = wf.run(trap(temperature=dict(kT=wf.Range(from_=0.5, to=1.0, points=2)), samples_per_iteration=1024))
    assert [t["kT"] for t in sweep.sweep] == [0.5, 1.0]
    with pytest.raises(wf.RunError, match="which temperature is meant"):
        wf.measure(sweep, "energy")
    colder, hotter = (
        wf.measure(sweep, "energy", samples=4096, replicates=16, temperature=kt)["energy"]["values"] for kt in (0.5, 1.0)
    )
    assert colder < hotter


@pytest.mark.skipif(not BINARY.exists(), reason="the command line is not built")
def test_states_have_the_bytes_of_the_command_line(levels, tmp_path):
    spec = tmp_path / "spec.ron"
    spec.write_text(trap(states=dict(count=3, weights=wf.Equal), samples_per_iteration=1024).to_ron())
    subprocess.run([BINARY, "run", spec, "--out", tmp_path / "b", "--quiet"], check=True)
    for name in ["energy.csv", "density.csv", "wavefunction", "spec.ron"]:
        assert (levels.folder / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def bumped(x):
    return x**2 / 2 + np.exp(-(x**2))


FORMULA = "x^2/2 + exp(-x^2)"


def with_potential(external, **fields):
    return trap(hamiltonian=wf.Hamiltonian(external=external, interaction=wf.SoftCoulomb()), **fields)


def test_a_function_becomes_a_potential():
    points = np.linspace(-8, 8, 129)
    table, formula = wf.Potential(bumped, points), wf.Potential(FORMULA)
    x = np.linspace(-8, 8, 3001)
    worst = np.abs(table(x) - bumped(x)).max()
    assert worst <= table.error < 100 * worst
    assert_allclose(formula(x), bumped(x), rtol=1e-14, atol=1e-14)
    assert formula.error == 0 and formula.derivative(0.3) == pytest.approx(0.3 - 0.6 * np.exp(-0.09))
    assert table(np.zeros((2, 3))).shape == (2, 3) and table(0.5).shape == ()
    # Points that are not even, and a function of one number at a time.
    uneven = wf.Potential(lambda v: bumped(v) if v > -100 else 0.0, np.sinh(np.linspace(-3, 3, 301)))
    assert_allclose(uneven(x), bumped(x), atol=uneven.error)
    # Energies agree within the error that is estimated.
    exact = [wf.exact(with_potential(v)) for v in (table, formula)]
    allowed = 2 * table.error + exact[0].error_estimates[0] + exact[1].error_estimates[0]
    assert abs(exact[0].energy - exact[1].energy) <= allowed
    for v in (table, formula):
        again = pickle.loads(pickle.dumps(v))
        assert_array_equal(again(x), v(x))
        assert again.to_ron() == v.to_ron()


def test_runs_in_a_table_are_runs_like_any_other(tmp_path):
    table = wf.Potential(bumped, np.linspace(-8, 8, 257))
    found = wf.run(with_potential(table), out=tmp_path / "a")
    assert found.verdict == "Good", found.checks
    exact = wf.exact(with_potential(wf.Potential(FORMULA))).energy
    assert abs(found.energy - exact) < 5 * found.standard_error + 2 * table.error + 1e-6
    assert "Tabulated" in found.spec
    assert wf.load(tmp_path / "a").energy == found.energy
    # The library knows the same potential by a file beside the spec.
    rows = "\n".join(f"{x!r},{v!r}" for x, v in zip(table.points.tolist(), table.values.tolist()))
    (tmp_path / "v.csv").write_text("x,v\n" + rows + "\n")
    (tmp_path / "t.ron").write_text(with_potential(wf.Tabulated(file="v.csv")).to_ron())
    assert wf.check(tmp_path / "t.ron") == wf.check(with_potential(table))


def test_potentials_that_are_none_say_why():
    for points, expected in [
        ([0, 1, 2], r"points: a table has between 4 and 10000 points, found 3"),
        ([0, 1, 1, 2], r"points\[2\]: the points must ascend, found 1 after 1"),
    ]:
        with pytest.raises(wf.SpecError, match=expected):
            wf.Potential(bumped, points)
    with pytest.raises(wf.SpecError, match="values"):
        wf.Potential([0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0])
    with pytest.raises(wf.SpecError, match=r"values\[1\]: must be finite"):
        wf.Potential(lambda x: np.where(x == 1, np.nan, x), [0, 1, 2, 3])
    with pytest.raises(wf.SpecError, match="column 5"):
        wf.Potential("x^2+y")
    # What the particles need more of is said by the library, with the place in the spec.
    with pytest.raises(wf.SpecError, match=r"spec.ron:3:.*external.points: the points must reach from"):
        wf.check(with_potential(wf.Potential(bumped, np.linspace(-1, 1, 41))))
    with pytest.raises(wf.SpecError, match=r"external.points: the points must reach from -12 to 12"):
        wf.check(with_potential(wf.Potential(bumped, np.linspace(-8, 8, 41)), geometry=wf.Box(half_width=12)))
    with pytest.raises(wf.SpecError, match="external"):
        wf.check(with_potential(wf.Potential(lambda x: -(x**2), np.linspace(-8, 8, 41))))
