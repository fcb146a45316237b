"""Specs as Python objects that mirror the RON ones: the same names, defaults and bounds.

Nothing is checked here: the library reads what :meth:`Spec.to_ron` writes, and its errors point into that text.
"""

from __future__ import annotations

import math

#: The choices of a spec by name; a name that is missing here is ``ron.Choice(name)``.
_CHOICES = [
    # external potentials
    "Free", "Nuclei", "Harmonic", "DoubleWell", "Lattice", "Formula", "Tabulated", "Sum",
    # interactions
    "SoftCoulomb", "Gaussian", "Dipolar", "InverseSquare", "Contact",
    # geometries
    "Box", "Ring",
    # wavefunctions and optimisers
    "Waveflow", "Weyl", "RayleighGaussNewton", "StochasticReconfiguration", "Adam", "Lbfgs", "EnergyNaturalGradient",
    "SectorBase",
    # sectors, weights of states, temperatures, faults
    "Components", "Decreasing", "Range", "Restart", "Skip",
    # references
    "Literal",
    # values and methods of a scan
    "Linear", "Geometric", "List", "Conditional",
]
_WORDS = ["Equal", "Exact", "Never", "Plateau", "QuasiRandom", "Random", "Stop"]
__all__ = [
    "Choice", "Continuation", "Hamiltonian", "Independent", "Line", "Nothing", "Sector", "Word", *_CHOICES, *_WORDS,
]


class Choice:
    """A choice with its fields: ``Harmonic(frequency=2)`` is ``Harmonic(frequency: 2)``, ``Formula("x^2")`` is itself. A field whose
    name Python keeps for itself ends in an underscore: ``Range(from_=0.1, to=2, points=8)``."""

    def __init__(self, name: str, *values, **fields):
        self.name, self.values = name, values
        self.fields = {field.rstrip("_"): value for field, value in fields.items()}

    def to_ron(self) -> str:
        if not self.values and not self.fields:
            return f"{self.name}()"
        inside = [to_ron(v) for v in self.values] + [f"{k}: {to_ron(v)}" for k, v in self.fields.items()]
        return f"{self.name}({', '.join(inside)})"

    def __repr__(self):
        return self.to_ron()

    def __eq__(self, other):
        return isinstance(other, Choice) and self.to_ron() == other.to_ron()


class Word(Choice):
    """A choice that has no fields: ``Word("Equal")``."""

    def to_ron(self) -> str:
        return self.name


#: The infinite line.
Line = Word("Line")
#: No interaction, no reference.
Nothing = Word("None")
#: How the points of a scan help each other.
Independent, Continuation = Word("Independent"), Word("Continuation")


def Sector(up: int, down: int = 0) -> Choice:
    """Numbers of spin-up and spin-down fermions."""
    return Choice("", up=up, down=down)


def Hamiltonian(external=None, interaction=None, title: str | None = None) -> Choice:
    """External potential and interaction."""
    fields = {"title": title, "external": external, "interaction": interaction}
    return Choice("Inline", **{k: v for k, v in fields.items() if v is not None})


def _choice(name: str):
    def make(*values, **fields):
        # A choice without fields is a word where the library knows it as one.
        return Word(name) if name == "Free" else Choice(name, *values, **fields)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"``{name}`` of a spec, with the fields that the docs/specs.md lists."
    return make


globals().update({name: _choice(name) for name in _CHOICES})
globals().update({name: Word(name) for name in _WORDS})


def to_ron(value) -> str:
    """A value as RON."""
    if hasattr(value, "to_ron"):
        return value.to_ron()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if value is None:
        return "None"
    if isinstance(value, (list, tuple)) or type(value).__name__ == "ndarray":
        return f"[{', '.join(to_ron(v) for v in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{to_ron(k)}: {to_ron(v)}" for k, v in value.items()) + "}"
    if isinstance(value, int):
        return str(value)
    number = float(value)
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "inf" if number > 0 else "-inf"
    return repr(number)


class Spec:
    """A run spec. The fields are those of a spec file: ``title``, ``hamiltonian``, ``sector``, ``geometry``, and all the
    optional ones (``wavefunction``, ``optimiser``, ``iterations``, ``final_samples``, ..). A string as ``hamiltonian``
    names a file; ``scan``, ``states`` and ``temperature`` may be dictionaries of their fields."""

    def __init__(self, *, title: str = "from Python", hamiltonian, sector, geometry=Line, **fields):
        if isinstance(hamiltonian, str):
            hamiltonian = Choice("File", hamiltonian)
        if isinstance(sector, (tuple, list)):
            sector = Sector(*sector)
        for name in ("scan", "states", "temperature"):
            if isinstance(fields.get(name), dict):
                fields[name] = Choice("", **fields[name])
        self.fields = {"title": title, "hamiltonian": hamiltonian, "sector": sector, "geometry": geometry, **fields}

    def replace(self, **fields) -> Spec:
        """The same spec with other fields."""
        return Spec(**{**self.fields, **fields})

    def to_ron(self) -> str:
        """The text of the spec file."""
        return "(\n" + "".join(f"    {k}: {to_ron(v)},\n" for k, v in self.fields.items()) + ")\n"

    def __repr__(self):
        return self.to_ron()
