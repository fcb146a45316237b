//! The mean-field base: determinants of the lowest orbitals of one particle, or of Hartree–Fock.
//!
//! Right tails, right shell structure, and no variance at all without interaction, for any potential.

use super::super::circle::anchor;
use super::super::place::Place;
use super::determinants::Determinants;
use super::series::Domain;
use super::{Base, BaseKind, Built};
use crate::exact::dvr::{OneBodyBasis, solve_one_body};
use crate::exact::hartree_fock::{HartreeFockOptions, hartree_fock};
use crate::math::linalg::EigenFailure;
use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
use crate::wavefunction::WavefunctionError;
use faer::Mat;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Which orbitals fill the determinants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Orbitals {
    /// Unrestricted Hartree–Fock: tails and shells of the interacting state.
    #[default]
    HartreeFock,
    /// The lowest eigenfunctions of one particle: no variance at all without interaction.
    NonInteracting,
}

/// Settings of the mean-field base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeanFieldSettings {
    /// The orbitals of the determinants.
    pub orbitals: Orbitals,
}

impl BaseKind for MeanFieldSettings {
    fn exists_for(&self, sector: Sector) -> Result<(), WavefunctionError> {
        if sector.is_many() && self.orbitals == Orbitals::HartreeFock {
            return Err(WavefunctionError::Base {
                problem: "Hartree-Fock is of two components: more need MeanField(orbitals: NonInteracting)"
                    .to_owned(),
            });
        }
        Ok(())
    }

    fn knows_many(&self) -> bool {
        true
    }

    fn orbitals(&self, _: &Hamiltonian) -> Orbitals {
        self.orbitals
    }

    fn build(
        &self,
        sector: Sector,
        place: Place,
        system: System,
    ) -> Result<Option<Built>, WavefunctionError> {
        let state = determinants(self.orbitals, sector, system)?;
        Ok(Some((place, Base::Determinants(state))))
    }

    fn label(&self, name: &str) -> String {
        format!("{name}({:?})", self.orbitals)
    }
}

impl Orbitals {
    /// The orbitals of a base that the system chooses: Hartree–Fock, but in a harmonic trap those without interaction.
    ///
    /// There the centre of mass moves independently of everything else (W. Kohn, "Cyclotron resonance and de Haas–van
    /// Alphen oscillations of an interacting electron gas", Phys. Rev. 123, 1242 (1961)); determinants without
    /// interaction have its ground state exactly, and pair displacements leave it alone.
    pub fn for_system(hamiltonian: &Hamiltonian) -> Self {
        match hamiltonian.external {
            External::Harmonic { .. } => Orbitals::NonInteracting,
            _ => Orbitals::HartreeFock,
        }
    }
}

/// Wave numbers, in the inverse of the unit of length, that are tried one after the other until the orbitals have converged.
pub(super) const CUTOFFS: [f64; 4] = [14.0, 20.0, 28.0, 40.0];
/// Largest coefficient, relative to the largest of all, that may be left at the upper end of a converged series.
const CONVERGED: f64 = 1e-12;
/// Most functions of a basis in an ordinary box, and in any: bounds the time of the mean field to seconds.
const ORDINARY_FUNCTIONS: usize = 500;
const MOST_FUNCTIONS: usize = 1200;
/// The same while the computational box of the line is being chosen.
const ORDINARY_PILOT_FUNCTIONS: usize = 280;
const MOST_PILOT_FUNCTIONS: usize = 800;

/// First half-width of the computational box of the line, and how much further than the region of the particles it may
/// go, in units of length.
const LINE_FIRST: f64 = 6.0;
const LINE_ROOM: f64 = 54.0;
/// Points on which the tails of the density are looked at.
const TAIL_POINTS: usize = 800;

/// Most functions of a basis: a wide box gets more, so that what is narrow in it is still seen.
pub(super) fn most_functions(geometry: &Geometry) -> usize {
    let (a, b) = geometry.interval();
    let resolved = (CUTOFFS[0] * (b - a) / PI) as usize;
    resolved.clamp(ORDINARY_FUNCTIONS, MOST_FUNCTIONS)
}

/// The determinants of a system in a box or on a ring.
///
/// # Errors
/// [`EigenFailure`] when a potential is not finite on the grid.
pub fn determinants(
    orbitals: Orbitals,
    sector: Sector,
    system: System,
) -> Result<Determinants, EigenFailure> {
    let most = most_functions(system.geometry);
    let mut coefficients = coefficients(orbitals, sector, system, most, &CUTOFFS)?;
    let domain = in_angles(system, &mut coefficients);
    Ok(Determinants::new(sector, domain, &coefficients))
}

/// Makes series of angles of orbitals that are given as in [`OneBodyBasis`].
pub(in super::super) fn in_angles(system: System, coefficients: &mut [Mat<f64>]) -> Domain {
    let Geometry::Ring { circumference } = *system.geometry else { return Domain::Walls };
    if let Some(anchor) = anchor(&system.hamiltonian.external, circumference) {
        coefficients.iter_mut().for_each(|c| turn(c, 2.0 * PI * anchor / circumference));
    }
    Domain::Circle
}

/// Turns orbitals on a ring, given as in [`OneBodyBasis`], so that angles are counted from `angle`.
fn turn(c: &mut Mat<f64>, angle: f64) {
    for k in 1..=c.nrows() / 2 {
        let (sin, cos) = (k as f64 * angle).sin_cos();
        for j in 0..c.ncols() {
            let (a, b) = (c[(2 * k - 1, j)], c[(2 * k, j)]);
            c[(2 * k - 1, j)] = cos * a + sin * b;
            c[(2 * k, j)] = cos * b - sin * a;
        }
    }
}

/// Shares of its peak at which the tail of the density is read, one pair after the other: a kink or a core leaves a
/// ripple in a sine series, below which nothing can be read.
const SHARES: [(f64, f64); 4] = [(1e-8, 1e-12), (1e-6, 1e-9), (1e-4, 1e-6), (1e-3, 1e-4)];

/// Half-width of the box in which the orbitals of a system on the line are computed, in its units of length: a system of
/// that size about the origin, whose particles are within `region` before they interact.
///
/// Wide enough for the mean-field density, whose logarithm is continued linearly from where it is 1e-8 and
/// 1e-12 of its peak (or more, where kinks and cores of the potential let nothing smaller be read), to fall to 1e-24 of it
/// (the square root of which is above the rounding of a sine series), or, if that takes more than `most` or 54 units
/// beyond the region, at least to 1e-16.
///
/// # Errors
/// [`WavefunctionError::Unbound`] when no box is wide enough.
pub fn line_half_width(
    orbitals: Orbitals,
    sector: Sector,
    hamiltonian: &Hamiltonian,
    region: (f64, f64),
    most: f64,
) -> Result<f64, WavefunctionError> {
    let reached = region.0.abs().max(region.1.abs());
    let most = most.min(reached + LINE_ROOM);
    let mut tails = Vec::new();
    let mut half_width = LINE_FIRST.max(reached + 1.5).min(most);
    loop {
        let geometry = Geometry::Box { half_width };
        let system = System { hamiltonian, geometry: &geometry };
        let resolved = (0.6 * CUTOFFS[0] * 2.0 * half_width / PI) as usize;
        let functions = resolved.clamp(ORDINARY_PILOT_FUNCTIONS, MOST_PILOT_FUNCTIONS);
        let pilot = coefficients(orbitals, sector, system, functions, &CUTOFFS[..1])?;
        let pilot = Base::Determinants(Determinants::new(sector, Domain::Walls, &pilot));
        let tail = Tail {
            half_width,
            at: SHARES.map(|s| [s.0, s.1].map(|s| reach(&pilot, half_width, s))),
        };
        if let Some(end) = tail.end(0, 24.0) {
            // On a grid, so that rounding does not move the walls.
            return Ok((4.0 * end).ceil() / 4.0);
        }
        tails.push(tail);
        if half_width >= most {
            break;
        }
        half_width = (1.4 * half_width).min(most);
    }
    if tails.last().is_some_and(|t| t.end(0, 16.0).is_some()) {
        return Ok(most);
    }
    let looser = (1..SHARES.len()).flat_map(|s| tails.iter().map(move |t| t.end(s, 24.0)));
    match looser.flatten().next() {
        Some(end) => Ok((4.0 * end).ceil() / 4.0),
        None => Err(WavefunctionError::Unbound { most }),
    }
}

/// How far the density reaches in a box, at each of the [`SHARES`].
struct Tail {
    half_width: f64,
    at: [[f64; 2]; SHARES.len()],
}

impl Tail {
    /// Where the density, continued from a pair of shares, is `decades` decades below its peak, if that is within the box.
    fn end(&self, pair: usize, decades: f64) -> Option<f64> {
        let [near, far] = self.at[pair];
        let (upper, lower) = (-SHARES[pair].0.log10(), -SHARES[pair].1.log10());
        let end = far + (far - near) * (decades - lower) / (lower - upper);
        // A density that reaches the walls falls steeply there, because of them and not by itself.
        (far <= 0.9 * self.half_width && end <= self.half_width).then_some(end)
    }
}

/// The largest distance from the middle, in the unit of `half_width`, at which the density of some spin reaches `share` of its peak.
pub fn reach(base: &Base, half_width: f64, share: f64) -> f64 {
    let mut found = 0.0f64;
    for spin in 0..base.spins() {
        let density: Vec<f64> = (0..=TAIL_POINTS)
            .map(|i| base.density(spin, PI * i as f64 / TAIL_POINTS as f64))
            .collect();
        let level = share * density.iter().copied().fold(0.0, f64::max);
        for (i, &d) in density.iter().enumerate() {
            if d >= level {
                let x = half_width * (2.0 * i as f64 / TAIL_POINTS as f64 - 1.0);
                found = found.max(x.abs());
            }
        }
    }
    found
}

/// Coefficients of the occupied orbitals of each spin, as columns in the sine or plane-wave basis of the geometry. Those of more
/// than two components do not know the interaction: Hartree–Fock is of two spins.
fn coefficients(
    orbitals: Orbitals,
    sector: Sector,
    system: System,
    most_functions: usize,
    cutoffs: &[f64],
) -> Result<Vec<Mat<f64>>, EigenFailure> {
    let free = orbitals == Orbitals::NonInteracting
        || system.hamiltonian.interaction == Interaction::None
        || sector.is_many()
        || sector.particles() == 1;
    let columns = |c: &Mat<f64>, n: usize| c.subcols(0, n).to_owned();
    converged(sector, system, most_functions, cutoffs, |basis| {
        if free {
            let one = solve_one_body(&system.hamiltonian.external, basis)?;
            return Ok(sector.spins().map(|s| columns(&one.orbitals, s.len())).collect());
        }
        let options = HartreeFockOptions::default();
        let field = hartree_fock(system.hamiltonian, basis, sector, &options)?;
        let of = |up: bool| if up { &field.orbitals_up } else { &field.orbitals_down };
        Ok(sector.spins().map(|s| columns(of(s.start < sector.up), s.len())).collect())
    })
}

/// What `solve` finds in the first of a row of growing bases in which its columns have converged.
pub(super) fn converged(
    sector: Sector,
    system: System,
    most_functions: usize,
    cutoffs: &[f64],
    mut solve: impl FnMut(OneBodyBasis) -> Result<Vec<Mat<f64>>, EigenFailure>,
) -> Result<Vec<Mat<f64>>, EigenFailure> {
    let most = sector.spins().map(|s| s.len()).max().unwrap_or(0);
    let mut previous = 0;
    let mut found = Vec::new();
    for &cutoff in cutoffs {
        let basis = OneBodyBasis::with_cutoff(*system.geometry, cutoff, 32.max(4 * most));
        let basis = OneBodyBasis::new(*system.geometry, basis.size().min(most_functions));
        if basis.size() == previous {
            break;
        }
        previous = basis.size();
        found = solve(basis)?;
        if found.iter().all(|c: &Mat<f64>| c.ncols() == 0 || tail(c) < CONVERGED) {
            break;
        }
    }
    Ok(found)
}

/// Largest of the last coefficients relative to the largest of all.
fn tail(c: &Mat<f64>) -> f64 {
    let largest = |from: usize| {
        let mut most = 0.0f64;
        for j in 0..c.ncols() {
            for k in from..c.nrows() {
                most = most.max(c[(k, j)].abs());
            }
        }
        most
    };
    largest(c.nrows() - c.nrows() / 8) / largest(0)
}
