//! Several orthonormal states under one flow.
//!
//! `phi -> phi(T) sqrt(det DT)` is unitary, so that orthonormal base states stay orthonormal for all parameters. The base
//! states are eigenvectors of a configuration interaction: the lowest few in natural orbitals that are averaged over them
//! (B. O. Roos, P. R. Taylor, P. E. M. Siegbahn, Chem. Phys. 48, 157 (1980)), or all those that a temperature reaches, in
//! the orbitals of the potential itself.

use super::super::{Wavefunction, WavefunctionError};
use super::base::expansion::Expansion;
use super::base::mean_field::in_angles;
use super::base::series::Domain;
use super::base::{Base, BaseState};
use super::place::Place;
use super::{Weyl, WeylSettings};
use crate::exact::ExactError;
use crate::exact::configurations::{Configurations, Spectrum};
use crate::exact::strings::choose;
use crate::exact::thermal::{Inside, Room};
use crate::math::linalg::symmetric_eigen;
use crate::system::sector::MOST_PARTICLES;
use crate::system::{Geometry, Sector, System};
use faer::Mat;

/// The lowest states of a sector under one flow.
#[derive(Clone, Debug)]
pub struct LowestStates {
    /// The states, ascending by the energy of their base.
    pub states: Vec<Weyl>,
    /// Energies of the base states, in Hartree.
    pub energies: Vec<f64>,
    /// `<k| sum x |l>` of the base states, in bohr; zero on a ring.
    pub dipoles: Mat<f64>,
    /// Orbitals of the base states.
    pub orbitals: usize,
    template: Expansion,
    /// Those of the base states in it.
    coefficients: Vec<Vec<f64>>,
}

/// The states that a temperature reaches under one flow, with their probabilities.
#[derive(Clone, Debug)]
pub struct GibbsStates {
    /// The flow over some base of the right place.
    flow: Weyl,
    template: Expansion,
    /// Addresses of the configurations in the coefficients of the template, and how many there are.
    addresses: (Vec<usize>, usize),
    spectrum: Spectrum,
    /// Energies of the base states, in Hartree, ascending.
    pub energies: Vec<f64>,
    /// `exp(-E/kT) / Z`.
    pub probabilities: Vec<f64>,
    /// Temperature, in Hartree.
    pub kt: f64,
    /// Orbitals of the base states.
    pub orbitals: usize,
    /// What the free energy still falls by, by the smaller space before, in Hartree.
    pub truncation: f64,
    /// Thermal occupations of the orbitals, both spins.
    pub occupations: Vec<f64>,
}

/// Configurations of the calculation whose states natural orbitals are averaged over.
const PILOT: usize = 2600;
const PILOT_ORBITALS: usize = 48;
/// Growth of its excitation.
const GROWTH: f64 = 1.25;
/// Most natural orbitals, and most determinants of them.
const MOST_ORBITALS: usize = 40;
const MOST_DETERMINANTS: u64 = 1600;
/// Most configurations of a thermal ensemble, and most products of their strings.
const MOST_CONFIGURATIONS: usize = 3200;
const MOST_THERMAL_DETERMINANTS: usize = 60_000;
/// Excitations of a thermal ensemble, in units of the temperature and of the system: to begin with, and at most.
const EXCITATION: (f64, f64) = (9.0, 9.0);
const THERMAL_GROWTH: f64 = 1.2;
/// What a larger thermal space must still gain, as a share of the temperature, but of no lower one than this, in the unit of the system.
const GAIN: (f64, f64) = (3e-6, 0.3);

fn refused(error: ExactError) -> WavefunctionError {
    match error {
        ExactError::NotFinite(failure) => failure.into(),
        ExactError::Unbound { half_width, .. } => WavefunctionError::Unbound { most: half_width },
        other => WavefunctionError::Base { problem: other.to_string() },
    }
}

/// What several states need of a system.
fn possible(sector: Sector, system: System) -> Result<(), WavefunctionError> {
    let n = sector.particles();
    if n == 0 || n > MOST_PARTICLES {
        return Err(WavefunctionError::Particles { most: MOST_PARTICLES, found: n });
    }
    if !system.hamiltonian.interaction.value(0.0).is_finite()
        || crate::contact::matters(system.hamiltonian, sector)
    {
        return Err(WavefunctionError::Base { problem: ExactError::Divergent.to_string() });
    }
    Ok(())
}

fn place(room: &Room<'_>, inside: &Inside) -> Place {
    Place { frame: room.frame, walls: inside.basis.geometry(), on_line: inside.on_line }
}

/// Orbitals, in the basis of their place, as series of angles.
fn series(inside: &Inside, orbitals: &Mat<f64>) -> (Domain, Mat<f64>) {
    let geometry = &inside.basis.geometry();
    let system = System { hamiltonian: &inside.hamiltonian, geometry };
    let mut turned = orbitals.clone();
    let domain = in_angles(system, std::slice::from_mut(&mut turned));
    (domain, turned)
}

/// The weighted sum of the density matrices of states over the same orbitals, by spin.
fn averaged(states: &[(f64, Expansion)]) -> Vec<Vec<f64>> {
    let Some((_, first)) = states.first() else { return Vec::new() };
    let total: f64 = states.iter().map(|s| s.0).sum();
    let of = |spin: usize| {
        let mut sum = vec![0.0; first.density_matrix(spin).len()];
        for (weight, state) in states {
            let pairs = sum.iter_mut().zip(state.density_matrix(spin));
            pairs.for_each(|(s, d)| *s += weight / total * d);
        }
        sum
    };
    (0..first.spins()).map(of).collect()
}

/// The coefficients of a state of a spectrum in a full space.
fn coefficients(spectrum: &Spectrum, state: usize, addresses: &(Vec<usize>, usize)) -> Vec<f64> {
    let mut c = vec![0.0; addresses.1];
    spectrum.vector(state).for_each(|(i, v)| c[addresses.0[i]] = v);
    c
}

impl LowestStates {
    /// The lowest states, whose orbitals are averaged with `weights`, one for each state.
    ///
    /// # Errors
    /// See [`WavefunctionError`]: geometries, interactions and sectors without such states.
    pub fn new(
        settings: &WeylSettings,
        sector: Sector,
        system: System,
        weights: &[f64],
    ) -> Result<Self, WavefunctionError> {
        crate::parallel::pin_linear_algebra();
        possible(sector, system)?;
        let count = weights.len();
        let room = Room::of(system.hamiltonian, system.geometry, sector);
        let (inside, one_body, space) = pilot(&room, sector, count)?;
        let matrix = space.hamiltonian(&inside.hamiltonian, inside.basis, one_body.as_ref())?;
        let spectrum = Spectrum::of(&matrix)?;
        let too_few = |found: usize| WavefunctionError::Base {
            problem: format!("{count} states were asked for, and the orbitals make only {found}"),
        };
        if spectrum.energies.len() < count {
            return Err(too_few(spectrum.energies.len()));
        }
        let basis = one_body.subcols(0, space.orbitals).to_owned();
        let strings = space.strings();
        let addresses = space.addresses(&strings);
        let lowest = coefficients(&spectrum, 0, &addresses);
        let (domain, orbitals) = series(&inside, &basis);
        let first = Expansion::of_strings(sector, domain, &orbitals, &strings, lowest);
        let states: Vec<(f64, Expansion)> = (0..count)
            .map(|k| (weights[k], first.with_coefficients(coefficients(&spectrum, k, &addresses))))
            .collect();
        let m = space.orbitals;
        let density = averaged(&states);
        let sum = Mat::from_fn(m, m, |p, q| density.iter().map(|d| d[p * m + q]).sum::<f64>());
        let (_, natural) = symmetric_eigen(sum.as_ref())?;
        let size = |k: usize| choose(k, sector.up).saturating_mul(choose(k, sector.down));
        let least = sector.up.max(sector.down);
        let ring = matches!(system.geometry, Geometry::Ring { .. });
        // Waves of plus and minus the same momentum belong together.
        let whole = |k: usize| !ring || k % 2 == 1;
        let few = |&k: &usize| size(k) <= MOST_DETERMINANTS && whole(k);
        let kept = (least..=m.min(MOST_ORBITALS)).rev().find(few);
        let kept = kept.unwrap_or(least).max(least);
        let turned = &basis * Mat::from_fn(m, kept, |p, k| natural[(p, m - 1 - k)]);
        let all = Configurations::all(sector, kept);
        let matrix = all.hamiltonian(&inside.hamiltonian, inside.basis, turned.as_ref())?;
        let spectrum = Spectrum::of(&matrix)?;
        if spectrum.energies.len() < count {
            return Err(too_few(spectrum.energies.len()));
        }
        let addresses = all.addresses(&all.strings());
        let lowest = coefficients(&spectrum, 0, &addresses);
        let (domain, orbitals) = series(&inside, &turned);
        let first = Expansion::new(sector, domain, &orbitals, lowest);
        let states: Vec<(f64, Expansion)> = (0..count)
            .map(|k| (weights[k], first.with_coefficients(coefficients(&spectrum, k, &addresses))))
            .collect();
        let mean = Base::Expansion(Box::new(first.clone().with_densities(averaged(&states))));
        let flow = Weyl::over(settings, sector, system, place(&room, &inside), mean)?;
        let out = |e: &f64| room.frame.energy_out(*e, sector.particles());
        // On a ring `sum x` is no observable.
        let x = match ring {
            true => Mat::zeros(all.list.len(), all.list.len()),
            false => all.dipole(inside.basis, turned.as_ref()),
        };
        let vectors = Mat::from_fn(all.list.len(), count, |_, _| 0.0);
        let vectors = (0..count).fold(vectors, |mut v, k| {
            spectrum.vector(k).for_each(|(i, c)| v[(i, k)] = c);
            v
        });
        let natural = vectors.transpose() * x * &vectors;
        let centre = sector.particles() as f64 * room.frame.origin;
        let dipoles = Mat::from_fn(count, count, |k, l| {
            room.frame.length * natural[(k, l)] + if k == l { centre } else { 0.0 }
        });
        Ok(LowestStates {
            dipoles,
            coefficients: (0..count).map(|k| coefficients(&spectrum, k, &addresses)).collect(),
            template: first,
            states: states
                .into_iter()
                .map(|(_, base)| flow.with_base(Base::Expansion(Box::new(base))))
                .collect(),
            energies: spectrum.energies[..count].iter().map(out).collect(),
            orbitals: kept,
        })
    }

    /// The superposition of the states with the coefficients of column `q` of a square matrix, row-major.
    pub fn turned(&self, rotation: &[f64], q: usize) -> Weyl {
        let mut sum = vec![0.0; self.coefficients.first().map_or(0, Vec::len)];
        for (state, row) in self.coefficients.iter().zip(rotation.chunks_exact(self.states.len())) {
            sum.iter_mut().zip(state).for_each(|(s, c)| *s += row[q] * c);
        }
        let base = Base::Expansion(Box::new(self.template.with_coefficients(sum)));
        self.states[0].with_base(base)
    }

    /// The base states themselves.
    pub(crate) fn untrained(&self) -> Vec<Weyl> {
        let zeros = vec![0.0; self.parameters().len()];
        let mut states = self.states.clone();
        for state in &mut states {
            // As many as it has.
            let _ = state.set_parameters(&zeros);
        }
        states
    }

    /// The parameters that all states share.
    pub fn parameters(&self) -> &[f64] {
        self.states[0].parameters()
    }

    /// Replaces them.
    ///
    /// # Errors
    /// [`WavefunctionError::Parameters`].
    pub fn set_parameters(&mut self, values: &[f64]) -> Result<(), WavefunctionError> {
        self.states.iter_mut().try_for_each(|s| s.set_parameters(values))
    }
}

/// The largest space of configurations that is small enough, of the states that are sought.
fn pilot(
    room: &Room<'_>,
    sector: Sector,
    count: usize,
) -> Result<(Inside, Mat<f64>, Configurations), WavefunctionError> {
    let mut best: Option<(Inside, Mat<f64>, Configurations)> = None;
    let mut excitation = 1.0;
    // Where a wider box is needed for more, there may be no such box.
    for _ in 0..30 {
        let inside = match room.inside(excitation, 1.0) {
            Ok(inside) => inside,
            Err(_) if best.is_some() => break,
            Err(error) => return Err(refused(error)),
        };
        let (orbitals, levels) = inside.orbitals()?;
        let space = Configurations::below(sector, &levels, excitation);
        let large = space.list.len() > PILOT || space.orbitals > PILOT_ORBITALS;
        if large && best.as_ref().is_some_and(|b| b.2.list.len() >= 2 * count) {
            break;
        }
        best = Some((inside, orbitals, space));
        if large {
            break;
        }
        excitation *= GROWTH;
    }
    best.ok_or(WavefunctionError::Base { problem: "there are no configurations".to_owned() })
}

impl GibbsStates {
    /// All states that a temperature reaches.
    ///
    /// # Errors
    /// See [`WavefunctionError`]: geometries, interactions and sectors without such states, and temperatures that reach too many.
    pub fn new(
        settings: &WeylSettings,
        sector: Sector,
        system: System,
        kt: f64,
    ) -> Result<Self, WavefunctionError> {
        crate::parallel::pin_linear_algebra();
        possible(sector, system)?;
        let room = Room::of(system.hamiltonian, system.geometry, sector);
        let length = room.frame.length;
        let unit = kt * length * length;
        let mut excitation = (EXCITATION.0 * unit).max(EXCITATION.1);
        let size = |s: &Configurations| s.strings().iter().map(Vec::len).product::<usize>();
        let mut best: Option<(Inside, Mat<f64>, Configurations, Spectrum)> = None;
        let mut free: Vec<f64> = Vec::new();
        let mut tried = 0;
        while tried < 24 {
            tried += 1;
            let inside = match room.inside(excitation, 1.0) {
                Ok(inside) => inside,
                Err(_) if free.len() >= 2 => break,
                Err(error) => return Err(refused(error)),
            };
            let (orbitals, levels) = inside.orbitals()?;
            let space = Configurations::below(sector, &levels, excitation);
            let large =
                space.list.len() > MOST_CONFIGURATIONS || size(&space) > MOST_THERMAL_DETERMINANTS;
            if large {
                if free.len() >= 2 {
                    break;
                }
                // Smaller ones, so that there are two to compare.
                (best, excitation) = (None, excitation / THERMAL_GROWTH.powi(3));
                free.clear();
                continue;
            }
            if best.as_ref().is_some_and(|b| b.2.list.len() == space.list.len()) {
                excitation *= THERMAL_GROWTH;
                continue;
            }
            let matrix = space.hamiltonian(&inside.hamiltonian, inside.basis, orbitals.as_ref())?;
            let spectrum = Spectrum::of(&matrix)?;
            free.push(crate::exact::thermal::Functions::of(&spectrum.energies, unit).free_energy);
            best = Some((inside, orbitals, space, spectrum));
            if let [.., a, b] = free[..]
                && (a - b).abs() < GAIN.0 * unit.max(GAIN.1)
            {
                break;
            }
            excitation *= THERMAL_GROWTH;
        }
        let (Some((inside, orbitals, space, spectrum)), [.., before, last]) = (best, &free[..])
        else {
            return Err(WavefunctionError::Base {
                problem: format!(
                    "the temperature kT = {kt} Ha reaches more than {MOST_CONFIGURATIONS} states of the configuration \
                     interaction"
                ),
            });
        };
        let truncation = (before - last).abs() / (length * length);
        let kept = space.orbitals;
        let basis = orbitals.subcols(0, kept).to_owned();
        let strings = space.strings();
        let addresses = space.addresses(&strings);
        let out = |e: &f64| room.frame.energy_out(*e, sector.particles());
        let energies: Vec<f64> = spectrum.energies.iter().map(out).collect();
        let weight = |e: &f64| (-(e - energies[0]) / kt).exp();
        let z: f64 = energies.iter().map(weight).sum();
        let probabilities: Vec<f64> = energies.iter().map(|e| weight(e) / z).collect();
        let lowest = coefficients(&spectrum, 0, &addresses);
        let (domain, angular) = series(&inside, &basis);
        let template = Expansion::of_strings(sector, domain, &angular, &strings, lowest);
        // States that hardly occur do not show in the density.
        let seen = probabilities.iter().take_while(|p| **p > 1e-5).count().max(1);
        let states: Vec<(f64, Expansion)> = crate::parallel::map_chunks(seen, 4, |_, range| {
            let state =
                |k: usize| template.with_coefficients(coefficients(&spectrum, k, &addresses));
            range.map(|k| (probabilities[k], state(k))).collect::<Vec<_>>()
        })
        .into_iter()
        .flatten()
        .collect();
        let density = averaged(&states);
        let occupations =
            (0..kept).map(|p| density.iter().map(|d| d[p * kept + p]).sum()).collect();
        let mean = Base::Expansion(Box::new(template.clone().with_densities(density)));
        let flow = Weyl::over(settings, sector, system, place(&room, &inside), mean)?;
        Ok(GibbsStates {
            flow,
            template,
            addresses,
            spectrum,
            energies,
            probabilities,
            kt,
            orbitals: kept,
            truncation,
            occupations,
        })
    }

    /// The flow, over a base that is of no use but for its place and density.
    pub fn flow(&self) -> &Weyl {
        &self.flow
    }

    /// Determinants of a base state.
    pub fn determinants(&self) -> usize {
        self.addresses.1
    }

    /// A state.
    pub fn state(&self, k: usize) -> Weyl {
        let base = coefficients(&self.spectrum, k, &self.addresses);
        self.flow.with_base(Base::Expansion(Box::new(self.template.with_coefficients(base))))
    }

    /// The state that a number in (0, 1) draws.
    pub fn drawn(&self, uniform: f64) -> usize {
        let mut left = uniform;
        for (k, p) in self.probabilities.iter().enumerate() {
            left -= p;
            if left < 0.0 {
                return k;
            }
        }
        0
    }

    /// Entropy of the probabilities, in units of k: that of the ensemble, exactly.
    pub fn entropy(&self) -> f64 {
        let positive = self.probabilities.iter().filter(|p| **p > 0.0);
        -positive.map(|p| p * p.ln()).sum::<f64>()
    }

    /// The parameters that all states share.
    pub fn parameters(&self) -> &[f64] {
        self.flow.parameters()
    }

    /// Replaces them.
    ///
    /// # Errors
    /// [`WavefunctionError::Parameters`].
    pub fn set_parameters(&mut self, values: &[f64]) -> Result<(), WavefunctionError> {
        self.flow.set_parameters(values)
    }
}
