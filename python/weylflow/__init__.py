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
    "ExactResult", "Observables", "Run", "RunError", "Spec", "SpecError", "State", "check", "exact", "load", "measure",
    "plot", "project", "ron", "run", "Scan", "scan", "__version__", *ron.__all__,
]


class State:
    """A trained wavefunction: exact samples and values."""

    def __init__(self, text: str):
        self._text = text
        self._native = _weylflow.State(text)

    def __reduce__(self):
        return State, (self._text,)

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


class Run:
    """What a run gave: numbers, curves, and the trained state."""

    def __init__(self, parts: dict, folder: str | os.PathLike | None = None):
        self._parts = dict(parts)
        self.folder = None if folder is None else Path(folder)
        #: Everything that ``summary.json`` holds.
        self.summary: dict = json.loads(parts["summary"])
        #: The spec with every default and choice written out.
        self.spec: str = parts["spec"]
        #: Columns of ``energy.csv``.
        self.iterations: dict[str, np.ndarray] = parts["iterations"]
        #: ``edges`` of the bins, and ``up``, ``down``: rows of density (1/bohr) and standard error.
        self.density: dict[str, np.ndarray] = parts["density"]
        #: ``x``, ``up``, ``down`` of the exact ground state, or None.
        self.reference_density: dict[str, np.ndarray] | None = parts.get("reference_density")
        self._state: State | None = None

    def __getstate__(self):
        return {"parts": self._parts, "folder": self.folder}

    def __setstate__(self, state):
        self.__init__(state["parts"], state["folder"])

    @property
    def energy(self) -> float:
        """Electronic energy."""
        return self.summary["energy"]

    @property
    def standard_error(self) -> float:
        """Standard error of the energy."""
        return self.summary["standard_error"]

    @property
    def verdict(self) -> str:
        """``Good``, ``Doubtful`` or ``Refused``."""
        return str(self.summary["verdict"])

    @property
    def checks(self) -> list[dict]:
        """The checks behind the verdict."""
        return self.summary["checks"]

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

    def __repr__(self):
        return f"Run({self.summary['title']!r}: E = {self.energy:.9g} ± {self.standard_error:.1g} Ha, {self.verdict})"

    def _repr_html_(self):
        from ._html import head

        return head(self)


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


def run(spec, out=None, *, seed: int | None = None, resume: bool = False, overwrite: bool = False, progress=False) -> Run:
    """Trains the wavefunction of a spec (a :class:`Spec`, a file name, or the text) and estimates its energy.

    With ``out`` everything that ``weylflow run`` writes goes into that folder, with checkpoints: after Ctrl-C the same
    call with ``resume=True`` goes on bit for bit. ``progress`` is True, or a callable that gets ``(event, value)``.
    """
    if resume and overwrite:
        raise ValueError("resume and overwrite exclude each other")
    existing = "resume" if resume else "overwrite" if overwrite else "refuse"
    with reporter(progress) as tell:
        parts = _weylflow.run(*_text(spec), None if out is None else Path(out), existing, seed, tell)
    return Run(parts, out)


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


def load(folder) -> Run:
    """The results of a finished run in its folder."""
    return Run(_weylflow.load(Path(folder)), folder)


def exact(
    spec, *, up: int | None = None, down: int | None = None, half_width: float | None = None, ring: float | None = None,
    states: int = 1, tolerance: float | None = None, progress=False,
) -> ExactResult:
    """Lowest energies of a run spec or of a Hamiltonian file, with error estimates; without walls or ring on the line."""
    text, path = _text(spec) if isinstance(spec, Spec) or str(spec).lstrip().startswith("(") else (None, Path(spec))
    with reporter(progress) as tell:
        return ExactResult(_weylflow.exact(text, path, up, down, half_width, ring, states, tolerance, tell))


def project(
    source, *, walkers: int | None = None, replicates: int = 32, beta: float | None = None, observables=("position", "density"),
    seed: int | None = None,
) -> dict:
    """The exact energy that the state is projected onto, and the error of its own: what ``projection.json`` holds.

    Without ``walkers`` as many as the error bar asks for. Where the projection is refused, ``energy`` is None and ``refusals`` says
    why."""
    text = _state(source)._text
    return json.loads(_weylflow.project(text, walkers, replicates, beta, list(observables), seed))


def _state(source) -> State:
    if isinstance(source, Run):
        return source.state
    return source if isinstance(source, State) else load(source).state


def measure(source, what=(), *, samples: int = 65_536, replicates: int = 32, seed: int | None = None) -> Observables:
    """Observables of a trained state (a :class:`Run`, a :class:`State` or a folder), with standard errors."""
    source = _state(source)
    what = [what] if isinstance(what, str) else list(what)
    found = Observables()
    for measurement in json.loads(_weylflow.measure(source._text, what, samples, replicates, seed)):
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
