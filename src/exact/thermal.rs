//! The canonical ensemble of a sector: free energy, energy, entropy and heat capacity at a temperature.
//!
//! Closed forms where the spectrum has one; otherwise the sum over all states of ever more configurations. Restricting
//! the states to a space raises the free energy (R. E. Peierls, Phys. Rev. 54, 918 (1938)), so that it falls towards the
//! exact one as the space grows.

use super::ExactError;
use super::closed_forms::ground_state;
use super::configurations::{Configurations, Spectrum};
use super::dvr::{OneBodyBasis, finite_at_contact, one_body_matrix};
use crate::contact;
use crate::math::linalg::{EigenFailure, symmetric_eigen};
use crate::system::hamiltonian::recognised;
use crate::system::landscape::Landscape;
use crate::system::{External, Frame, Geometry, Hamiltonian, Interaction, Sector, judgement};
use faer::Mat;
use serde::{Deserialize, Serialize};

/// Four functions of the temperature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Functions {
    /// `F = -kT ln Z`, in Hartree.
    pub free_energy: f64,
    /// `E = <H>`, in Hartree.
    pub energy: f64,
    /// `S = (E - F) / kT`, in units of k.
    pub entropy: f64,
    /// `C = (<H²> - <H>²) / kT²`, in units of k.
    pub heat_capacity: f64,
}

impl Functions {
    /// Of levels, in any order.
    pub fn of(levels: &[f64], kt: f64) -> Self {
        let lowest = levels.iter().copied().fold(f64::INFINITY, f64::min);
        let weight = |e: &f64| (-(e - lowest) / kt).exp();
        let z: f64 = levels.iter().map(weight).sum();
        let mean = levels.iter().map(|e| weight(e) * (e - lowest)).sum::<f64>() / z;
        let square =
            levels.iter().map(|e| weight(e) * (e - lowest - mean).powi(2)).sum::<f64>() / z;
        Functions {
            free_energy: lowest - kt * z.ln(),
            energy: lowest + mean,
            entropy: mean / kt + z.ln(),
            heat_capacity: square / (kt * kt),
        }
    }

    /// Of the levels of a trap, from those of the configurations up to some excitation and up to one quantum less.
    ///
    /// The first are those of the relative motion with all levels of the centre of mass that there is room for: `E` and
    /// `E + omega` of every `E` that is also among the second. Without the latter one of each relative level is left, and the
    /// ladder of the centre of mass is summed to its end.
    fn in_trap(all: &[f64], fewer: &[f64], omega: f64, kt: f64) -> Self {
        let lowest = all.iter().copied().fold(f64::INFINITY, f64::min);
        let signed = || {
            let raised = fewer.iter().map(|e| (-1.0, e + omega - lowest));
            all.iter().map(|e| (1.0, e - lowest)).chain(raised)
        };
        let sum = |f: &dyn Fn(f64) -> f64| -> f64 {
            signed().map(|(sign, e)| sign * (-e / kt).exp() * f(e)).sum()
        };
        let z = sum(&|_| 1.0);
        let mean = sum(&|e| e) / z;
        let square = sum(&|e| (e - mean).powi(2)) / z;
        let relative = Functions {
            free_energy: lowest - kt * z.ln(),
            energy: lowest + mean,
            entropy: mean / kt + z.ln(),
            heat_capacity: square / (kt * kt),
        };
        relative.plus(Self::of_modes(0.0, std::iter::once(omega), kt))
    }

    /// Of independent oscillators above a ground state.
    fn of_modes(ground: f64, modes: impl Iterator<Item = f64>, kt: f64) -> Self {
        let mut f = Functions { free_energy: ground, energy: ground, ..Functions::default() };
        for mode in modes {
            let x = mode / kt;
            // ln (1 - exp(-x)) and 1 / (exp(x) - 1), for large and for small x.
            let log = (-(-x).exp_m1()).ln();
            let quanta = 1.0 / x.exp_m1();
            f.free_energy += kt * log;
            f.energy += mode * quanta;
            f.entropy += x * quanta - log;
            if quanta > 0.0 {
                f.heat_capacity += x * x * quanta * (quanta + 1.0);
            }
        }
        f
    }

    /// Differences, function by function.
    fn change(&self, other: &Self) -> Self {
        self.with(other, |a, b| (a - b).abs())
    }

    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Functions {
            free_energy: f(self.free_energy),
            energy: f(self.energy),
            entropy: f(self.entropy),
            heat_capacity: f(self.heat_capacity),
        }
    }

    fn with(&self, o: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Functions {
            free_energy: f(self.free_energy, o.free_energy),
            energy: f(self.energy, o.energy),
            entropy: f(self.entropy, o.entropy),
            heat_capacity: f(self.heat_capacity, o.heat_capacity),
        }
    }

    fn at_least(self, o: Self) -> Self {
        self.with(&o, f64::max)
    }

    fn plus(self, o: Self) -> Self {
        self.with(&o, |a, b| a + b)
    }

    /// From the units of a frame to Hartree.
    fn out(self, frame: &Frame, particles: usize) -> Self {
        Functions {
            free_energy: frame.energy_out(self.free_energy, particles),
            energy: frame.energy_out(self.energy, particles),
            ..self
        }
    }
}

/// Functions of the temperature with estimates of their errors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThermalResult {
    /// Temperature, in Hartree.
    #[serde(rename = "kT")]
    pub kt: f64,
    /// The functions.
    #[serde(flatten)]
    pub functions: Functions,
    /// Estimates of their errors.
    pub error_estimates: Functions,
    /// How they were obtained.
    pub method: String,
    /// States that were summed; zero for a closed form.
    pub states: usize,
    /// Whether the estimate of the free energy is below the tolerance that was asked for.
    pub converged: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThermalOptions {
    /// Temperature, in Hartree.
    pub kt: f64,
    /// Error of the free energy to aim at, in Hartree for a system as wide as one bohr and in its own unit of energy for
    /// any other.
    pub tolerance: f64,
    /// Most states that are summed.
    pub states: usize,
    /// Whether closed forms are used.
    pub closed_forms: bool,
}

impl ThermalOptions {
    /// The default, at a temperature.
    pub fn at(kt: f64) -> Self {
        ThermalOptions { kt, tolerance: 1e-8, states: 2400, closed_forms: true }
    }
}

/// Excitations above the ground configuration that are tried, in units of the temperature and of the system.
const FIRST: (f64, f64) = (8.0, 10.0);
/// Growth of the excitation.
const GROWTH: f64 = 1.3;
const GROWTH_IN_TRAP: f64 = 1.2;
/// Most orbitals: their integrals grow with the fourth power.
const MOST_ORBITALS: usize = 70;
/// Largest wave number of soft Coulomb cores, in the unit of the system.
const CORE: f64 = 12.0;
/// Least factor on the differences of two spaces: configurations come in groups, and a small last difference may be chance.
const CAUTION: f64 = 3.0;
/// Least share of the difference before that the last one counts as, for the same reason.
const GROUPED: f64 = 0.3;

/// What is left after a difference and the one before it, where spaces grow by whole shells: differences fall ever faster.
fn rest_of_series(step: f64, before: f64) -> f64 {
    let ratio = step / before;
    if ratio < 0.9 { step * (CAUTION * ratio / (1.0 - ratio)).max(0.1) } else { 10.0 * step }
}

/// The canonical ensemble; `progress` hears the number of states of each sum and may end it.
///
/// # Errors
/// See [`ExactError`]: no ground state, an interaction that diverges at contact and has no closed form, a ring with
/// interaction is solved like any other geometry; [`ExactError::Unbound`] where the particles are free to leave.
pub fn thermal(
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    options: &ThermalOptions,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<ThermalResult, ExactError> {
    crate::parallel::pin_linear_algebra();
    if sector.particles() == 0 {
        return Err(ExactError::EmptySector);
    }
    judgement::ground_state(hamiltonian, geometry, sector)?;
    let kt = options.kt;
    if options.closed_forms
        && !contact::matters(hamiltonian, sector)
        && let Some((functions, source)) = closed_form(hamiltonian, geometry, sector, kt)
    {
        let size = functions.free_energy.abs().max(functions.energy.abs()) + kt;
        let rounding = 1e-14 * size;
        return Ok(ThermalResult {
            kt,
            functions,
            error_estimates: Functions {
                free_energy: rounding,
                energy: rounding,
                entropy: 1e-13,
                heat_capacity: 1e-13,
            },
            method: format!("closed form: {source}"),
            states: 0,
            converged: true,
        });
    }
    if !finite_at_contact(&hamiltonian.interaction) || contact::matters(hamiltonian, sector) {
        return Err(ExactError::Divergent);
    }
    let room = Room::of(hamiltonian, geometry, sector);
    let unit = kt * room.frame.length.powi(2);
    let most = options.states;
    let growth = if room.trap().is_some() { GROWTH_IN_TRAP } else { GROWTH };
    let mut found: Vec<(Functions, usize, f64, usize)> = Vec::new();
    let mut excitation = (FIRST.0 * unit).max(FIRST.1);
    if room.trap().is_some() {
        // Small spaces cost little, and three of them tell what is left.
        excitation /= growth * growth;
    }
    while found.len() < 12 {
        let inside = room.inside(excitation, 1.0)?;
        let (orbitals, levels) = inside.orbitals()?;
        let space = Configurations::below(sector, &levels, excitation);
        if space.list.len() > most || space.orbitals > MOST_ORBITALS {
            if found.len() >= 2 {
                break;
            }
            // Smaller ones, to have two to compare.
            excitation /= growth * growth;
            if excitation < 1e-3 || found.len() > 8 {
                return Err(ExactError::TooManyStates { most });
            }
            found.clear();
            excitation *= 0.8;
            continue;
        }
        if found.last().is_some_and(|f| f.1 == space.list.len()) {
            if space.orbitals == levels.len() {
                break;
            }
            excitation *= growth;
            continue;
        }
        if !progress(space.list.len()) {
            return Err(ExactError::Interrupted);
        }
        let functions = room.sum(&inside, &orbitals, &levels, &space, (excitation, unit))?;
        found.push((functions, space.list.len(), excitation, space.orbitals));
        if let [.., a, b] = found[..]
            && (a.0.free_energy - b.0.free_energy).abs() < 0.3 * options.tolerance
        {
            break;
        }
        excitation *= growth;
    }
    let [.., before, last] = found[..] else {
        return Err(ExactError::TooManyStates { most });
    };
    let step = last.0.change(&before.0);
    let step = match &found[..] {
        [.., first, _, _] => {
            let earlier = before.0.change(&first.0);
            if room.trap().is_some() {
                step.with(&earlier, rest_of_series)
            } else {
                // Where three spaces show how fast the differences shrink, what is left is the rest of that series.
                let ratio = step.free_energy / earlier.free_energy;
                let factor = if ratio < 0.9 { (ratio / (1.0 - ratio)).max(CAUTION) } else { 10.0 };
                step.at_least(earlier.map(|d| GROUPED * d)).map(|d| factor * d)
            }
        }
        _ => step.map(|d| 10.0 * d),
    };
    // The same space in a wider box with more functions.
    if !progress(last.1) {
        return Err(ExactError::Interrupted);
    }
    let wider = room.inside(last.2, 1.15)?;
    let (orbitals, levels) = wider.orbitals()?;
    let space = Configurations::below(sector, &levels, last.2);
    let again = room.sum(&wider, &orbitals, &levels, &space, (last.2, unit))?;
    let rounding = 1e-13 * (last.0.energy.abs() + last.2);
    let error = step.plus(last.0.change(&again)).map(|d| d + rounding);
    let length = room.frame.length.powi(2);
    let n = sector.particles();
    Ok(ThermalResult {
        kt,
        functions: last.0.out(&room.frame, n),
        error_estimates: Functions {
            free_energy: error.free_energy / length,
            energy: error.energy / length,
            ..error
        },
        method: format!(
            "sum over the {} states of the configurations up to {:.4} Ha above the lowest, in {} orbitals{}",
            last.1,
            last.2 / length,
            last.3,
            if room.trap().is_some() {
                ", all levels of the centre of mass above each of the relative motion"
            } else {
                ""
            }
        ),
        states: last.1,
        converged: error.free_energy < options.tolerance,
    })
}

/// Closed forms, with their source.
///
/// - Free fermions in the oscillator: the levels of n equal fermions are those of n bosonic modes `omega, 2 omega, .., n omega`
///   (S. Tomonaga, Prog. Theor. Phys. 5, 544 (1950)).
/// - Harmonium, equal spins: the centre of mass is one oscillator `omega`, and the relative motion has the modes
///   `2 Omega, .., n Omega`, `Omega² = omega² + n k`.
/// - Calogero, equal spins: the modes of free fermions above another ground state (F. Calogero, J. Math. Phys. 12, 419 (1971)).
fn closed_form(
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
    kt: f64,
) -> Option<(Functions, &'static str)> {
    let (external, interaction) = recognised(hamiltonian);
    let External::Harmonic { frequency } = external else { return None };
    if *geometry != Geometry::Line {
        return None;
    }
    let ground = ground_state(hamiltonian, None, sector)?;
    let n = sector.particles();
    let ladder = |n: usize| (1..=n).map(move |j| j as f64 * frequency);
    let functions = match interaction {
        Interaction::Harmonic { stiffness } if n > 1 => {
            let root = (frequency * frequency + n as f64 * stiffness).sqrt();
            let modes = std::iter::once(frequency).chain((2..=n).map(|j| j as f64 * root));
            Functions::of_modes(ground.energy, modes, kt)
        }
        _ => {
            let modes = ladder(sector.up).chain(ladder(sector.down));
            Functions::of_modes(ground.energy, modes, kt)
        }
    };
    Some((functions, ground.source))
}

/// Where the particles are, in the units of the system.
pub(crate) struct Room<'a> {
    sector: Sector,
    geometry: &'a Geometry,
    pub(crate) frame: Frame,
    natural: Hamiltonian,
    free: bool,
    lowest: f64,
    region: (f64, f64),
}

/// Walls, functions and the Hamiltonian between them.
pub(crate) struct Inside {
    pub(crate) hamiltonian: Hamiltonian,
    pub(crate) basis: OneBodyBasis,
    /// Whether the walls are those of a computational box.
    pub(crate) on_line: bool,
}

/// Decay of the amplitude at the walls of a computational box.
const DECAY: f64 = 20.0;
/// Units of length beyond which nothing holds the particles.
const FAR: f64 = 400.0;

impl<'a> Room<'a> {
    pub(crate) fn of(hamiltonian: &Hamiltonian, geometry: &'a Geometry, sector: Sector) -> Self {
        let (external, interaction) = recognised(hamiltonian);
        let hamiltonian = Hamiltonian { title: String::new(), external, interaction };
        let landscape = Landscape::of(&hamiltonian, geometry, sector);
        let frame = Frame::of(&landscape);
        let place = |x: f64| (x - frame.origin) / frame.length;
        let natural = frame.hamiltonian(&hamiltonian);
        let region = (place(landscape.region.0), place(landscape.region.1));
        let lowest = (landscape.lowest - frame.energy) * frame.length.powi(2);
        Room { sector, geometry, frame, natural, free: landscape.free, lowest, region }
    }

    /// The frequency of a harmonic trap on the line, where the centre of mass moves by itself.
    fn trap(&self) -> Option<f64> {
        match (self.geometry, &self.natural.external) {
            (Geometry::Line, External::Harmonic { frequency }) => Some(*frequency),
            _ => None,
        }
    }

    /// The sum over the states of a space of configurations up to an excitation.
    fn sum(
        &self,
        inside: &Inside,
        orbitals: &Mat<f64>,
        levels: &[f64],
        space: &Configurations,
        (excitation, kt): (f64, f64),
    ) -> Result<Functions, ExactError> {
        let energies = |space: &Configurations| {
            let matrix = space.hamiltonian(&inside.hamiltonian, inside.basis, orbitals.as_ref())?;
            Ok::<_, ExactError>(Spectrum::of(&matrix)?.energies)
        };
        let all = energies(space)?;
        Ok(match self.trap().filter(|omega| *omega <= excitation) {
            Some(omega) => {
                let fewer = Configurations::below(self.sector, levels, excitation - omega);
                Functions::in_trap(&all, &energies(&fewer)?, omega, kt)
            }
            None => Functions::of(&all, kt),
        })
    }

    /// The half-width at which a particle of an energy has decayed; none where it never does.
    fn half_width(&self, energy: f64, decay: f64) -> Option<f64> {
        let v = |x: f64| self.natural.external.value(x);
        let step = 0.01;
        let outward = |start: f64, direction: f64| {
            let (mut x, mut lost) = (start, 0.0);
            while lost < decay {
                x += direction * step;
                if x.abs() > FAR {
                    return None;
                }
                let above = v(x) - energy;
                // Beyond a barrier there may be another well.
                lost = if above > 0.0 { lost + step * (2.0 * above).sqrt() } else { 0.0 };
            }
            Some(x.abs())
        };
        let left = outward(self.region.0.min(0.0), -1.0)?;
        Some(left.max(outward(self.region.1.max(0.0), 1.0)?))
    }

    /// The geometry for configurations up to an excitation, `width` times as wide and fine as it takes.
    ///
    /// # Errors
    /// [`ExactError::Unbound`] where a particle with that energy is free.
    pub(crate) fn inside(&self, excitation: f64, width: f64) -> Result<Inside, ExactError> {
        let lowest = if self.lowest.is_finite() { self.lowest } else { 0.0 };
        let walls = self.frame.geometry(self.geometry);
        let at = |top: f64| -> Result<Inside, ExactError> {
            let room = self.half_width(top, DECAY * width);
            let given = match walls {
                Geometry::Box { half_width } => half_width,
                _ => f64::INFINITY,
            };
            let (walls, on_line) = match (walls, room) {
                (Geometry::Ring { .. }, _) => (walls, false),
                (_, Some(l)) if self.free && l < given => (Geometry::Box { half_width: l }, true),
                // Walls that turn out to matter are not where a frame about the particles puts them.
                (Geometry::Box { .. }, _) if self.frame.origin == 0.0 => (walls, false),
                _ => {
                    return Err(ExactError::Unbound {
                        half_width: FAR * self.frame.length,
                        change: f64::NAN,
                    });
                }
            };
            let wave = (2.0 * (top - lowest).max(0.0)).sqrt();
            let cutoff = width * (wave + 6.0).max(CORE);
            Ok(Inside {
                hamiltonian: self.natural.clone(),
                basis: OneBodyBasis::with_cutoff(walls, cutoff, 32),
                on_line,
            })
        };
        // The highest orbital is the last of the ground configuration, raised by all there is.
        let first = at(lowest + excitation + 1.0)?;
        let (_, levels) = first.orbitals()?;
        let filled = self.sector.up.max(self.sector.down);
        at(levels.get(filled - 1).copied().unwrap_or(0.0) + excitation)
    }
}

impl Inside {
    /// One-body eigenstates and their energies.
    pub(crate) fn orbitals(&self) -> Result<(Mat<f64>, Vec<f64>), EigenFailure> {
        let h = one_body_matrix(&self.hamiltonian.external, &self.basis)?;
        let (levels, orbitals) = symmetric_eigen(h.as_ref())?;
        Ok((orbitals, levels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soft_trap() -> Hamiltonian {
        Hamiltonian {
            title: String::new(),
            external: External::Harmonic { frequency: 1.0 },
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        }
    }

    fn at(
        hamiltonian: &Hamiltonian,
        up: usize,
        down: usize,
        kt: f64,
        closed: bool,
    ) -> ThermalResult {
        let mut options = ThermalOptions { closed_forms: closed, ..ThermalOptions::at(kt) };
        options.states = 500;
        let sector = Sector::new(up, down);
        thermal(hamiltonian, &Geometry::Line, sector, &options, &mut |_| true).unwrap()
    }

    /// Figures of a reference that was computed by other means, and closed forms.
    #[test]
    fn sums_agree_with_references_within_their_error_estimates() {
        let trap = soft_trap();
        for (up, down, kt, exact) in [
            (
                2,
                0,
                0.25,
                [2.549083631313846, 2.5734507300876936, 0.09746839509539029, 0.3332838572463504],
            ),
            (
                2,
                0,
                1.0,
                [1.9338530880736091, 3.466523911163288, 1.5326708230896788, 1.6544316063023032],
            ),
            (
                1,
                1,
                0.25,
                [1.7583693372285363, 1.8273380891290172, 0.2758750076019236, 0.7435030101075777],
            ),
            (
                3,
                0,
                0.25,
                [6.073180475223232, 6.097601083698086, 0.09768243389941489, 0.33527737346850756],
            ),
        ] {
            let r = at(&trap, up, down, kt, true);
            let (f, e) = (r.functions, r.error_estimates);
            let pairs = [
                (f.free_energy, e.free_energy),
                (f.energy, e.energy),
                (f.entropy, e.entropy),
                (f.heat_capacity, e.heat_capacity),
            ];
            for ((found, error), exact) in pairs.into_iter().zip(exact) {
                let off = (found - exact).abs();
                assert!(
                    off < error + 1e-10 && error < 1e-3,
                    "({up}, {down}) {kt}: {off:e} {error:e}"
                );
            }
        }
        let harmonium =
            Hamiltonian { interaction: Interaction::Harmonic { stiffness: 0.25 }, ..soft_trap() };
        for (n, kt) in [(2, 0.5), (3, 0.25)] {
            let (sum, form) = (at(&harmonium, n, 0, kt, false), at(&harmonium, n, 0, kt, true));
            let off = (sum.functions.free_energy - form.functions.free_energy).abs();
            let error = sum.error_estimates.free_energy;
            assert!(form.states == 0 && sum.states > 0);
            assert!(off < error && error < 1e-4, "{n} {kt}: {off:e} {error:e}");
        }
    }

    /// Of two free fermions in a trap with levels up to so many quanta the relative motion is a ladder of odd levels: what is left out
    /// of the sum is the end of that ladder alone, not that of the centre of mass.
    #[test]
    fn the_centre_of_mass_of_a_trap_is_summed_to_its_end() {
        let (kt, most) = (1.5, 12);
        let levels = |most: usize| -> Vec<f64> {
            let pairs = (0..=most + 1).flat_map(|a| (0..a).map(move |b| a + b));
            pairs.filter(|q| q - 1 <= most).map(|q| q as f64 + 1.0).collect()
        };
        let found = Functions::in_trap(&levels(most), &levels(most - 1), 1.0, kt);
        let relative: Vec<f64> = (0..=most / 2).map(|j| 2.0 + 2.0 * j as f64).collect();
        let exact =
            Functions::of(&relative, kt).plus(Functions::of_modes(0.0, std::iter::once(1.0), kt));
        for (f, e) in [
            (found.free_energy, exact.free_energy),
            (found.energy, exact.energy),
            (found.entropy, exact.entropy),
            (found.heat_capacity, exact.heat_capacity),
        ] {
            assert!((f - e).abs() < 1e-11, "{f} {e}");
        }
    }

    /// Three particles of both spins at a high temperature, where error estimates of a sum without the end of the ladder of the
    /// centre of mass were a tenth of a Hartree: the sums of fewer and of more states agree within what they say.
    #[test]
    fn both_spins_at_a_high_temperature_are_known() {
        let sector = Sector::new(2, 1);
        let sum = |states| {
            let options = ThermalOptions { states, ..ThermalOptions::at(2.0) };
            thermal(&soft_trap(), &Geometry::Line, sector, &options, &mut |_| true).unwrap()
        };
        let (few, more) = (sum(700), sum(1300));
        // What a sum over 3128 states gives, to 1e-4.
        for found in [&few, &more] {
            let error = found.error_estimates.free_energy;
            let off = (found.functions.free_energy + 0.478800).abs();
            assert!(off < error + 1e-4 && error < 0.1, "{off:e} {error:e}");
        }
        assert!(more.error_estimates.free_energy < 0.5 * few.error_estimates.free_energy);
    }

    #[test]
    fn closed_forms_are_those_of_the_modes() {
        let calogero = Hamiltonian {
            interaction: Interaction::InverseSquare { strength: 2.0 },
            ..soft_trap()
        };
        let f = at(&calogero, 3, 0, 1.0, true).functions;
        let exact = [6.844842215801357, 8.552199081842426, 1.707356866041069, 2.1410043046926406];
        for (found, exact) in
            [f.free_energy, f.energy, f.entropy, f.heat_capacity].iter().zip(exact)
        {
            assert!((found - exact).abs() < 1e-11);
        }
        let sector = Sector::new(2, 1);
        let diverges =
            thermal(&calogero, &Geometry::Line, sector, &ThermalOptions::at(1.0), &mut |_| true);
        assert!(diverges.is_err());
    }
}
