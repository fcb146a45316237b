"""Quantum Monte Carlo for one-dimensional fermions with exactly normalised, exactly sampled wavefunctions.

Energies are in Hartree, lengths in bohr. See :func:`run`, :func:`exact`, :func:`measure`, :func:`load`, :class:`Spec`.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from . import _weylflow, plot, ron
from ._progress import reporter
from ._weylflow import RunError, SpecError, __version__
from .ron import *  # noqa: F403 - the names of the choices of a spec
from .ron import Spec

__all__ = [
    "EnsembleRun", "ExactResult", "OneOfSeveral", "Observables", "Potential", "Run", "RunError", "Spec", "SpecError", "State",
    "ThermalResult", "check", "exact", "load", "measure", "plot", "project", "ron", "run", "Scan", "scan", "__version__",
    *ron.__all__,
]


class State:
    """A trained wavefunction: exact samples and values."""

    def __init__(self, text: str, number: int | None = None):
        self._text = text
        self._number = number
        self._native = _weylflow.State(text, number)

    def __reduce__(self):
        return State, (self._text, self._number)

    def __repr__(self):
        return f"State(up={self.sector[0]}, down={self.sector[1]})"

    @property
    def sector(self) -> tuple[int, int]:
        """Numbers of spin-up and spin-down particles."""
        return self._native.sector

    def sample(self, count: int, seed: int | None = None) -> np.ndarray:
        """``count`` exact independent samples of ``|psi|**2``, shape (count, particles), in bohr: spin up first, each spin
        ascending. The few without a finite local energy, if there are any, are left out. Without a seed that of the
        run."""
        return self.sample_with_energy(count, seed)[0]

    def sample_with_energy(self, count: int, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Samples and their local energies in Hartree."""
        x, energy, _ = self._native.sample(count, self._native.seed if seed is None else seed)
        return x, energy

    def evaluate(self, x) -> dict[str, np.ndarray]:
        """``log_abs``, ``sign``, ``gradient`` (of log|psi|) and ``local_energy`` at points of shape (points, particles)."""
        return self._native.evaluate(np.atleast_2d(np.asarray(x, dtype=np.float64)))

    def log_psi(self, x) -> tuple[np.ndarray, np.ndarray]:
        """``log |psi|`` and the sign of psi, which changes when two equal spins change places."""
        found = self.evaluate(x)
        return found["log_abs"], found["sign"]

    def gradient(self, x) -> np.ndarray:
        """Gradient of ``log |psi|``, shape (points, particles), in 1/bohr."""
        return self.evaluate(x)["gradient"]

    def local_energy(self, x) -> np.ndarray:
        """``(H psi) / psi`` in Hartree."""
        return self.evaluate(x)["local_energy"]


class _Result:
    """What every run has."""

    def __init__(self, parts: dict, folder: str | os.PathLike | None = None):
        self._parts = dict(parts)
        self.folder = None if folder is None else Path(folder)
        #: Everything that ``summary.json`` holds.
        self.summary: dict = json.loads(parts["summary"])
        #: The spec with every default and choice written out.
        self.spec: str = parts["spec"]
        #: Columns of ``energy.csv``; of several states the energy is their weighted sum, of a temperature the free energy.
        self.iterations: dict[str, np.ndarray] = parts["iterations"]
        #: ``edges`` of the bins, and curves in 1/bohr: of a run ``up`` and ``down``, rows of density and standard error; of
        #: several states and of a temperature the columns of ``density.csv``, ``up_0``, ``down_0``, .. and ``up``, ``down``.
        self.density: dict[str, np.ndarray] = parts["density"]

    def __getstate__(self):
        return {"parts": self._parts, "folder": self.folder}

    def __setstate__(self, state):
        self.__init__(state["parts"], state["folder"])

    @property
    def verdict(self) -> str:
        """``Good``, ``Doubtful`` or ``Refused``."""
        return str(self.summary["verdict"])

    @property
    def checks(self) -> list[dict]:
        """The checks behind the verdict."""
        return self.summary["checks"]


class Run(_Result):
    """What a run gave: numbers, curves, and the trained state."""

    def __init__(self, parts: dict, folder: str | os.PathLike | None = None):
        super().__init__(parts, folder)
        #: ``x``, ``up``, ``down`` of the exact ground state, or None.
        self.reference_density: dict[str, np.ndarray] | None = parts.get("reference_density")
        self._state: State | None = None

    @property
    def energy(self) -> float:
        """Electronic energy."""
        return self.summary["energy"]

    @property
    def standard_error(self) -> float:
        """Standard error of the energy."""
        return self.summary["standard_error"]

    @property
    def reference(self) -> dict | None:
        """The exact energy that the run is compared with."""
        return self.summary["reference"]

    @property
    def state(self) -> State:
        """The trained wavefunction."""
        if self._state is None:
            self._state = State(self._parts["wavefunction"])
        return self._state

    @property
    def states(self) -> list[Run]:
        """The only state is the run itself, so that ``states[k].energy`` is there for any number of states."""
        return [self]

    def __repr__(self):
        return f"Run({self.summary['title']!r}: E = {self.energy:.9g} ± {self.standard_error:.1g} Ha, {self.verdict})"

    def _repr_html_(self):
        from ._html import head

        return head(self)


class OneOfSeveral:
    """One of the states of an :class:`EnsembleRun`."""

    def __init__(self, number: int, row: dict, density: dict[str, np.ndarray], text: str):
        #: Its number, from 0.
        self.number = number
        #: Electronic energy in Hartree, its standard error, and the variance in Hartree².
        self.energy: float = row["energy"]
        self.standard_error: float = row["standard_error"]
        self.variance: float = row["variance"]
        #: The exact energy (``energy``, ``error_estimate``, ``source``, ``deviation``), or None.
        self.reference: dict | None = row["reference"]
        #: ``edges`` of the bins, and ``up``, ``down``: density in 1/bohr, for the spins that have particles.
        self.density = density
        self._text = text
        self._state: State | None = None

    @property
    def state(self) -> State:
        """The wavefunction: samples, values, observables."""
        if self._state is None:
            self._state = State(self._text, self.number)
        return self._state

    def __getstate__(self):
        return {**self.__dict__, "_state": None}

    def __repr__(self):
        return f"OneOfSeveral({self.number}: E = {self.energy:.9g} ± {self.standard_error:.1g} Ha)"


class EnsembleRun(_Result):
    """What a run of several states (``states``) or of a temperature (``thermal``, ``sweep``) gave."""

    def __init__(self, parts: dict, folder: str | os.PathLike | None = None):
        super().__init__(parts, folder)
        curves = {name: curve for name, curve in self.density.items() if name != "edges"}
        #: The states, lowest first; none of a temperature.
        self.states: list[OneOfSeveral] = [
            OneOfSeveral(
                k, row,
                {"edges": self.density["edges"], **{
                    name.rsplit("_", 1)[0]: curve for name, curve in curves.items() if name.endswith(f"_{k}")
                }},
                parts["wavefunction"],
            )
            for k, row in enumerate(self.summary.get("states", []))
        ]
        #: Transitions: ``from``, ``to``, ``dipole`` (bohr), ``dipole_error``, ``oscillator_strength``.
        self.transitions: list[dict] = self.summary.get("transitions", [])
        #: ``kT``, ``free_energy``, ``energy``, ``entropy``, ``heat_capacity`` (each with ``value``, ``standard_error`` and, where it is
        #: known, ``reference``), and more; of a sweep those of the last temperature. None of states.
        self.thermal: dict | None = self.summary.get("thermal")
        #: The same for every temperature; one alone is a sweep of one.
        self.sweep: list[dict] = self.summary.get("sweep") or ([self.thermal] if self.thermal else [])

    @property
    def energies(self) -> np.ndarray:
        """Electronic energies of the states, in Hartree."""
        return np.array([state.energy for state in self.states])

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the energies."""
        return np.array([state.standard_error for state in self.states])

    @property
    def gaps(self) -> np.ndarray:
        """Energies above the lowest state with their standard errors, shape (states, 2): from samples that both states share."""
        rows = [(row["gap"]["energy"], row["gap"]["standard_error"]) for row in self.summary.get("states", [])]
        return np.array(rows, dtype=float).reshape(-1, 2)

    def __repr__(self):
        title = repr(self.summary["title"])
        if self.states:
            levels = ", ".join(f"{s.energy:.8g} ± {s.standard_error:.1g}" for s in self.states)
            return f"EnsembleRun({title}: {levels} Ha, {self.verdict})"
        points = ", ".join(
            f"F({t['kT']:.4g}) = {t['free_energy']['value']:.8g} ± {t['free_energy']['standard_error']:.1g}" for t in self.sweep
        )
        return f"EnsembleRun({title}: {points} Ha, {self.verdict})"

    def _repr_html_(self):
        from ._html import head_of_several

        return head_of_several(self)


class Scan:
    """What a scan gave: the columns of ``curve.csv`` as arrays, a row for every value, and for every level or temperature."""

    def __init__(self, parts: dict, folder: str | os.PathLike | None = None):
        self.folder = None if folder is None else Path(folder)
        #: Names of the scanned parameters.
        self.parameters: list[str] = list(parts["parameters"])
        #: ``Good``, ``Doubtful``, ``Refused`` or ``Failed``: that of the worst point.
        self.verdict: str = parts["worst"]
        self._lines: str = parts["lines"]
        names, *rows = [line.split(",") for line in parts["table"].splitlines()]
        columns = list(zip(*rows)) if rows else [()] * len(names)
        words = ("verdict", "trained")
        numbers = lambda cells: np.array([float(c) if c else np.nan for c in cells])  # noqa: E731
        #: Values of the scanned parameter; of two parameters one column each.
        self.values: np.ndarray = numbers(columns[0]) if len(self.parameters) == 1 else np.stack(
            [numbers(c) for c in columns[:len(self.parameters)]], axis=1
        )
        #: All columns by their names; numbers that there are not are NaN.
        self.columns: dict[str, np.ndarray] = {
            name: np.array(cells) if name in words else numbers(cells) for name, cells in zip(names, columns)
        }

    def __getitem__(self, column: str) -> np.ndarray:
        return self.columns[column]

    @property
    def energies(self) -> np.ndarray:
        """Electronic energies, in Hartree."""
        return self.columns["energy"]

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the energies."""
        return self.columns["energy_error" if "energy_error" in self.columns else "standard_error"]

    @property
    def derivatives(self) -> np.ndarray | None:
        """Derivatives of the electronic energies, by the parameter or one column for each of two; None for states and temperatures."""
        if "derivative" in self.columns:
            return self.columns["derivative"]
        found = [self.columns.get(f"derivative_{name}") for name in self.parameters]
        return None if any(f is None for f in found) else np.stack(found, axis=1)

    def __repr__(self):
        return f"Scan({', '.join(self.parameters)}; {len(self.energies)} rows, {self.verdict})\n{self._lines}"


class ExactResult:
    """Exact energies of a sector."""

    def __init__(self, parts: dict):
        #: Lowest energies, ascending, and how far each may be off.
        self.energies: np.ndarray = parts["energies"]
        self.error_estimates: np.ndarray = parts["error_estimates"]
        self.method: str = parts["method"]
        #: Whether the error estimate is within the tolerance.
        self.converged: bool = parts["converged"]
        self.nuclear_repulsion: float = parts["nuclear_repulsion"]
        #: Spin, parity and momentum of each state.
        self.labels: list[dict] = json.loads(parts["labels"])
        #: Kinetic, external and interaction energy of the ground state.
        self.components: dict = json.loads(parts["components"])
        self.natural_occupations: np.ndarray | None = parts.get("natural_occupations")
        #: ``x``, ``up``, ``down`` of each state.
        self.densities: list[dict[str, np.ndarray]] = parts.get("densities", [])

    @property
    def energy(self) -> float:
        """The ground state's."""
        return float(self.energies[0])

    def __repr__(self):
        shown = ", ".join(f"{e:.10g} ± {d:.0e}" for e, d in zip(self.energies, self.error_estimates))
        return f"ExactResult({shown} Ha; {self.method})"


class ThermalResult:
    """The canonical ensemble of a sector, as sums over states or by closed forms."""

    def __init__(self, parts: dict):
        found = json.loads(parts["thermal"])
        #: Temperature, in Hartree.
        self.kT: float = found["kT"]
        #: In Hartree.
        self.free_energy: float = found["free_energy"]
        self.energy: float = found["energy"]
        #: In units of k.
        self.entropy: float = found["entropy"]
        self.heat_capacity: float = found["heat_capacity"]
        #: How far each may be off, by the same names.
        self.error_estimates: dict[str, float] = found["error_estimates"]
        self.method: str = found["method"]
        #: Whether the estimate of the free energy is within the tolerance.
        self.converged: bool = found["converged"]
        self.nuclear_repulsion: float = parts["nuclear_repulsion"]

    def __repr__(self):
        error = self.error_estimates["free_energy"]
        return f"ThermalResult(kT = {self.kT:.6g}: F = {self.free_energy:.10g} ± {error:.0e} Ha; {self.method})"


class Potential:
    """An external potential: a formula in ``x``, or a cubic spline through values at points.

    ``Potential("x^2/2")`` is a formula of a spec. ``Potential(f, points)`` calls ``f`` (with the whole array, or point by point where it
    cannot do that) at ascending ``points`` in bohr; ``Potential(values, points)`` takes the values themselves, in Hartree. Beyond the points
    the spline goes on as a straight line with its slope there; with ``periodic=True`` the last point is the first again. As ``external``
    of a :func:`Hamiltonian` it goes into the text of the spec with all its numbers. Raises :class:`SpecError` for a formula or a table
    that is not valid.
    """

    def __init__(self, source, points=None, *, periodic: bool = False):
        periodic = bool(periodic)
        self._arguments = (source, points, periodic)
        if isinstance(source, str):
            if points is not None or periodic:
                raise ValueError("a formula needs no points")
            self._native = _weylflow.Potential.formula(source)
            self._choice = ron.Formula(source)
            return
        if points is None:
            raise ValueError("points are needed, at which the potential is tabulated")
        #: Where it is tabulated, in bohr.
        self.points = np.array(points, dtype=np.float64).reshape(-1)
        #: The values there, in Hartree.
        self.values = _values(source, self.points) if callable(source) else np.array(source, dtype=np.float64).reshape(-1)
        # What pickles is the table, whatever it was made of.
        self._arguments = (self.values, self.points, periodic)
        self._native = _weylflow.Potential.table(self.points, self.values, periodic)
        self._choice = ron.Tabulated(points=self.points, values=self.values, periodic=periodic)

    def __reduce__(self):
        source, points, periodic = self._arguments
        return _potential, (source, points, periodic)

    def __call__(self, x) -> np.ndarray:
        """``v(x)`` in Hartree, as the calculations see it."""
        x = np.asarray(x, dtype=np.float64)
        return self._native.value(np.ravel(x)).reshape(x.shape)

    def derivative(self, x) -> np.ndarray:
        """``dv/dx`` in Hartree per bohr."""
        x = np.asarray(x, dtype=np.float64)
        return self._native.derivative(np.ravel(x)).reshape(x.shape)

    @property
    def error(self) -> float:
        """An estimate of how far the spline is from what was tabulated at most, in Hartree: an energy is off by no more for every
        particle. From every second and fourth point, so that four to eight points have none (infinity); zero for a formula."""
        return self._native.error

    def to_ron(self) -> str:
        """As it stands in a spec."""
        return self._choice.to_ron()

    def __repr__(self):
        if isinstance(self._arguments[0], str):
            return f"Potential({self._arguments[0]!r})"
        first, last = self.points[0], self.points[-1]
        return f"Potential({len(self.points)} points from {first:.6g} to {last:.6g} bohr, error {self.error:.0e} Ha)"


def _potential(source, points, periodic) -> Potential:
    return Potential(source, points, periodic=periodic)


def _values(function, points: np.ndarray) -> np.ndarray:
    try:
        values = np.asarray(function(points), dtype=np.float64)
        if values.shape == points.shape:
            return values
    except (TypeError, ValueError):
        pass
    # A function of one number; a constant comes here as well.
    return np.array([float(function(float(x))) for x in points])


class Observables(dict):
    """Quantities by their name: dictionaries of ``values``, ``errors`` (both of the shape of the axes), ``axes``, ``unit``
    and ``about``."""


def _text(spec) -> tuple[str, Path]:
    """The text of a spec and where it comes from: a Spec, the text of one, or the name of a file."""
    if isinstance(spec, Spec):
        return spec.to_ron(), Path("spec.ron")
    if isinstance(spec, str) and spec.lstrip().startswith("("):
        return spec, Path("spec.ron")
    path = Path(spec)
    try:
        return path.read_text(encoding="utf-8-sig"), path
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text") from error


def check(spec) -> str:
    """The spec with every default written out; raises :class:`SpecError` where it is not valid."""
    return _weylflow.check(*_text(spec))


def run(
    spec, out=None, *, seed: int | None = None, resume: bool = False, overwrite: bool = False, progress=False,
) -> Run | EnsembleRun:
    """Trains the wavefunction of a spec (a :class:`Spec`, a file name, or the text) and estimates its energy.

    With ``out`` everything that ``weylflow run`` writes goes into that folder, with checkpoints: after Ctrl-C the same
    call with ``resume=True`` goes on bit for bit. ``progress`` is True, or a callable that gets ``(event, value)``. A spec with
    ``states`` or a ``temperature`` gives an :class:`EnsembleRun`.
    """
    if resume and overwrite:
        raise ValueError("resume and overwrite exclude each other")
    existing = "resume" if resume else "overwrite" if overwrite else "refuse"
    with reporter(progress) as tell:
        parts = _weylflow.run(*_text(spec), None if out is None else Path(out), existing, seed, tell)
    return _run(parts, out)


def _run(parts: dict, folder) -> Run | EnsembleRun:
    several = "ensemble" in json.loads(parts["summary"])
    return (EnsembleRun if several else Run)(parts, folder)


def scan(
    spec, out=None, *, only: tuple[int, int] | None = None, seed: int | None = None, resume: bool = False, overwrite: bool = False,
    progress=False,
) -> Scan:
    """The curve of a spec with a ``scan``: a run at every value, as ``weylflow run`` does it.

    With ``out`` all files stay in that folder, and ``only=(3, 5)`` does the points from the third to the fifth; without it nothing
    is kept but the numbers."""
    if resume and overwrite:
        raise ValueError("resume and overwrite exclude each other")
    existing = "resume" if resume else "overwrite" if overwrite else "refuse"
    with reporter(progress) as tell, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "scan" if out is None else Path(out)
        parts = _weylflow.scan(*_text(spec), folder, existing, only, seed, tell)
    return Scan(parts, out)


def load(folder) -> Run | EnsembleRun:
    """The results of a finished run in its folder."""
    return _run(_weylflow.load(Path(folder)), folder)


def exact(
    spec, *, up: int | None = None, down: int | None = None, half_width: float | None = None, ring: float | None = None,
    states: int = 1, tolerance: float | None = None, temperature: float | None = None, progress=False,
) -> ExactResult | ThermalResult:
    """Lowest energies of a run spec or of a Hamiltonian file, with error estimates; without walls or ring on the line.

    With ``temperature`` (kT in Hartree) free energy, energy, entropy and heat capacity instead: a :class:`ThermalResult`."""
    if temperature is not None and states != 1:
        raise ValueError("states and temperature exclude each other")
    text, path = _text(spec) if isinstance(spec, Spec) or str(spec).lstrip().startswith("(") else (None, Path(spec))
    with reporter(progress) as tell:
        found = _weylflow.exact(text, path, up, down, half_width, ring, states, tolerance, temperature, tell)
    return ExactResult(found) if temperature is None else ThermalResult(found)


def project(
    source, *, walkers: int | None = None, replicates: int = 32, beta: float | None = None, observables=("position", "density"),
    seed: int | None = None,
) -> dict:
    """The exact energy that the state is projected onto, and the error of its own: what ``projection.json`` holds.

    Without ``walkers`` as many as the error bar asks for. Where the projection is refused, ``energy`` is None and ``refusals`` says
    why."""
    state = _state(source)
    if state._number is not None:
        raise RunError("a projection is of a ground state, and none of several states")
    text = state._text
    return json.loads(_weylflow.project(text, walkers, replicates, beta, list(observables), seed))


def _state(source) -> State:
    if isinstance(source, State):
        return source
    if not isinstance(source, (Run, EnsembleRun, OneOfSeveral)):
        source = load(source)
    if isinstance(source, EnsembleRun):
        # The library says why there is no one wavefunction.
        return State(source._parts["wavefunction"])
    return source.state


def measure(
    source, what=(), *, samples: int = 65_536, replicates: int = 32, seed: int | None = None, temperature: float | None = None
) -> Observables:
    """Observables of a trained state (a :class:`Run`, one of ``run.states``, a :class:`State` or a folder), with standard errors.

    Of a run at a temperature they are averages over the ensemble; ``temperature`` (kT, in Hartree) says which one of a sweep."""
    if not isinstance(source, (State, Run, EnsembleRun, OneOfSeveral)):
        source = load(source)
    if isinstance(source, EnsembleRun) and source.sweep:
        text, number = source._parts["wavefunction"], None
    else:
        state = _state(source)
        text, number = state._text, state._number
    what = [what] if isinstance(what, str) else list(what)
    found = Observables()
    for measurement in json.loads(_weylflow.measure(text, number, temperature, what, samples, replicates, seed)):
        for q in measurement["quantities"]:
            shape = [len(a["points"]) - (1 if a["edges"] else 0) for a in q["axes"]]
            array = lambda v: np.array([np.nan if x is None else x for x in v], dtype=float)  # noqa: E731
            values, errors = array(q["values"]), array(q["errors"])
            found[q["name"]] = {
                "values": values.reshape(shape) if shape else values[0],
                "errors": None if not errors.size else errors.reshape(shape) if shape else errors[0],
                "axes": [{**a, "points": array(a["points"])} for a in q["axes"]],
                "unit": q["unit"],
                "about": q["about"],
            }
    return found
