//! Which determinants make up the sum: half-projected Hartree–Fock, or a configuration interaction.
//!
//! A single determinant per spin cannot dissociate a bond: unrestricted Hartree–Fock puts spin up on one atom and
//! spin down on the other, and the state that has them the other way round is as likely. The sum of both is the
//! half-projected state (Y. G. Smeyers and L. Doreste-Suárez, Int. J. Quantum Chem. 7, 687 (1973)), what is left of
//! P.-O. Löwdin's spin projection (Phys. Rev. 97, 1509 (1955)) when only the parity of the total spin is kept. For one
//! pair it is the valence-bond function of W. Heitler and F. London.

use super::super::super::WavefunctionError;
use super::super::place::Place;
use super::expansion::{Expansion, minors};
use super::mean_field::{CUTOFFS, converged, in_angles, most_functions};
use super::series::Domain;
use super::{Base, BaseKind, Built};
use crate::exact::active_space;
use crate::exact::dvr::OneBodyBasis;
use crate::exact::hartree_fock::{HartreeFock, HartreeFockOptions, hartree_fock};
use crate::exact::strings::{StringSpace, choose};
use crate::math::linalg::EigenFailure;
use crate::system::{Geometry, Interaction, Sector, System};
use faer::Mat;
use serde::{Deserialize, Serialize};
use std::f64::consts::FRAC_PI_4;

/// Settings of the base of several determinants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MultiDeterminantSettings {
    /// Which determinants, with which coefficients.
    pub determinants: DeterminantSum,
}

/// A way to find determinants and their coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum DeterminantSum {
    /// Unrestricted Hartree–Fock plus its mirror image in spin: for as many particles of spin up as of spin down.
    #[default]
    HalfProjected,
    /// Full configuration interaction in the most occupied natural orbitals.
    ConfigurationInteraction {
        /// Number of orbitals.
        #[serde(default = "default_orbitals")]
        orbitals: usize,
    },
}

/// Natural orbitals of a configuration interaction whose spec gives no number.
fn default_orbitals() -> usize {
    14
}

/// Most determinants of a sum: bounds the time of one evaluation to that of the layers above.
pub const MOST_DETERMINANTS: u64 = 10_000;
/// Most orbitals of a sum.
pub const MOST_ORBITALS: usize = 32;

/// Length below which what a column adds to the span of those before counts as nothing.
const DEPENDENT: f64 = 1e-10;

impl MultiDeterminantSettings {
    /// Whether the determinants exist on a geometry.
    ///
    /// # Errors
    /// [`WavefunctionError::NotOnGeometry`] if not.
    pub fn exist_on(&self, geometry: &Geometry) -> Result<(), WavefunctionError> {
        match (geometry, self.determinants) {
            // What breaks the symmetry of the spins breaks the rotations of a ring as well.
            (Geometry::Ring { .. }, DeterminantSum::HalfProjected) => {
                Err(WavefunctionError::NotOnGeometry {
                    what:
                        "HalfProjected of the base MultiDeterminant, which needs walls or a trap,"
                            .to_owned(),
                    geometry: "Ring",
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether the determinants exist for a sector.
    ///
    /// # Errors
    /// [`WavefunctionError::Base`] if not.
    pub fn exist_for(&self, sector: Sector) -> Result<(), WavefunctionError> {
        let Sector { up, down, .. } = sector;
        let refuse = |problem: String| Err(WavefunctionError::Base { problem });
        let orbitals = match self.determinants {
            DeterminantSum::HalfProjected if up != down => {
                return refuse(format!(
                    "HalfProjected exchanges the spins and needs as many particles up as down, found {up} and {down}"
                ));
            }
            DeterminantSum::HalfProjected => 2 * up,
            DeterminantSum::ConfigurationInteraction { .. } if up + down < 2 => {
                return refuse("ConfigurationInteraction needs at least two particles".to_owned());
            }
            DeterminantSum::ConfigurationInteraction { orbitals } if orbitals < up.max(down) => {
                return refuse(format!(
                    "ConfigurationInteraction needs at least as many orbitals as there are particles of one spin, \
                     {}, found {orbitals}",
                    up.max(down)
                ));
            }
            DeterminantSum::ConfigurationInteraction { orbitals } if orbitals > MOST_ORBITALS => {
                return refuse(format!(
                    "ConfigurationInteraction may have at most {MOST_ORBITALS} orbitals, found {orbitals}"
                ));
            }
            DeterminantSum::ConfigurationInteraction { orbitals } => orbitals,
        };
        let found = self.count(sector);
        if found > MOST_DETERMINANTS {
            return refuse(format!(
                "{orbitals} orbitals make {found} determinants of {up} particles up and {down} down, at most \
                 {MOST_DETERMINANTS} are allowed"
            ));
        }
        Ok(())
    }

    /// Number of determinants.
    pub fn count(&self, sector: Sector) -> u64 {
        let orbitals = match self.determinants {
            DeterminantSum::HalfProjected => 2 * sector.up,
            DeterminantSum::ConfigurationInteraction { orbitals } => orbitals,
        };
        choose(orbitals, sector.up).saturating_mul(choose(orbitals, sector.down))
    }

    /// The sum of determinants of a system in a box or on a ring.
    ///
    /// # Errors
    /// See [`Self::exist_on`] and [`Self::exist_for`]; [`WavefunctionError::Orbitals`] when a potential is not finite.
    pub fn build(&self, sector: Sector, system: System) -> Result<Expansion, WavefunctionError> {
        self.exist_on(system.geometry)?;
        self.exist_for(sector)?;
        let most = most_functions(system.geometry);
        let (orbitals, coefficients) = match self.determinants {
            DeterminantSum::HalfProjected => {
                let found = converged(sector, system, most, &CUTOFFS, |basis| {
                    let field = unrestricted(sector, system, basis, FRAC_PI_4)?;
                    Ok(occupied(&field, sector).to_vec())
                })?;
                half_projected(&found[0], &found[1])
            }
            DeterminantSum::ConfigurationInteraction { orbitals } => {
                // Converged for the orbitals of Hartree–Fock; the others are no rougher.
                let mut last = None;
                converged(sector, system, most, &CUTOFFS, |basis| {
                    let field = unrestricted(sector, system, basis, 0.0)?;
                    let found = occupied(&field, sector).to_vec();
                    last = Some(field);
                    Ok(found)
                })?;
                let field =
                    last.expect("there are cutoffs, and the first basis is always solved in");
                let state = active_space(system.hamiltonian, &field, sector, orbitals)?;
                let (strings, coefficients) = that_count(sector, orbitals, state.coefficients);
                let mut orbitals = state.orbitals;
                let domain = in_angles(system, std::slice::from_mut(&mut orbitals));
                return Ok(Expansion::of_strings(
                    sector,
                    domain,
                    &orbitals,
                    &strings,
                    coefficients,
                ));
            }
        };
        Ok(Expansion::new(sector, Domain::Walls, &orbitals, coefficients))
    }
}

/// Weight, of the whole sum, of the determinants that are left out because they are too small to matter.
const NEGLIGIBLE: f64 = 1e-11;
/// The same for two particles, whose sums are short and whose local energies vary so little that more would show.
const NEGLIGIBLE_OF_PAIRS: f64 = 1e-14;

/// The strings of each spin that occur, and their coefficients, without the smallest ones: symmetries make half of all zero, and in
/// natural orbitals most of the others are small.
fn that_count(
    sector: Sector,
    orbitals: usize,
    mut coefficients: Vec<f64>,
) -> ([Vec<Vec<usize>>; 2], Vec<f64>) {
    let mut sizes: Vec<f64> = coefficients.iter().map(|c| c.abs()).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let share = if sector.particles() > 2 { NEGLIGIBLE } else { NEGLIGIBLE_OF_PAIRS };
    let most = share * sizes.iter().map(|c| c * c).sum::<f64>();
    let mut left_out = 0.0;
    let small = sizes.iter().take_while(|&&c| {
        left_out += c * c;
        left_out <= most
    });
    let smallest = sizes.get(small.count()).copied().unwrap_or(0.0);
    coefficients.iter_mut().filter(|c| c.abs() < smallest).for_each(|c| *c = 0.0);
    let [up, down] = [sector.up, sector.down].map(|n| StringSpace::new(orbitals, n).all());
    let (rows, columns) = (up.len(), down.len());
    let occurs = |i: usize, j: usize| coefficients[i * columns + j] != 0.0;
    let up_counts: Vec<bool> = (0..rows).map(|i| (0..columns).any(|j| occurs(i, j))).collect();
    let down_counts: Vec<bool> = (0..columns).map(|j| (0..rows).any(|i| occurs(i, j))).collect();
    let kept = (0..rows * columns)
        .filter(|ij| up_counts[ij / columns] && down_counts[ij % columns])
        .map(|ij| coefficients[ij])
        .collect();
    let that = |strings: Vec<Vec<usize>>, counts: Vec<bool>| {
        strings.into_iter().zip(counts).filter(|(_, counts)| *counts).map(|(s, _)| s).collect()
    };
    ([that(up, up_counts), that(down, down_counts)], kept)
}

impl BaseKind for MultiDeterminantSettings {
    fn exists_on(&self, geometry: &Geometry) -> Result<(), WavefunctionError> {
        self.exist_on(geometry)
    }

    fn exists_for(&self, sector: Sector) -> Result<(), WavefunctionError> {
        self.exist_for(sector)
    }

    fn build(
        &self,
        sector: Sector,
        place: Place,
        system: System,
    ) -> Result<Option<Built>, WavefunctionError> {
        let state = MultiDeterminantSettings::build(self, sector, system)?;
        Ok(Some((place, Base::Expansion(Box::new(state)))))
    }

    fn label(&self, _: &str) -> String {
        match self.determinants {
            DeterminantSum::HalfProjected => "HalfProjected".to_owned(),
            DeterminantSum::ConfigurationInteraction { orbitals } => {
                format!("ConfigurationInteraction({orbitals})")
            }
        }
    }
}

/// The shortest sum of determinants that three and more particles get without asking, if any.
///
/// Interacting particles in a box or on the line: a configuration interaction, of both spins in fourteen
/// orbitals, or as many fewer as it takes to stay small, but at least six and two more than particles; of one spin in twenty, or as many
/// fewer, but at least two more than twice the particles. On a ring in an odd number: waves of plus and minus the same momentum belong
/// together.
pub fn automatic(sector: Sector, system: System) -> Option<MultiDeterminantSettings> {
    let n = sector.particles();
    let polarised = sector.is_polarised();
    let ring = matches!(system.geometry, Geometry::Ring { .. });
    if n < 3 || system.hamiltonian.interaction == Interaction::None {
        return None;
    }
    let (fewest, most) = match (n, polarised) {
        (_, true) => (2 * n + 2, POLARISED_ORBITALS),
        _ => (FEWEST_ORBITALS.max(n + 2), default_orbitals().max(FEWEST_ORBITALS.max(n + 2))),
    };
    let limit = if polarised { MOST_POLARISED } else { MOST_AUTOMATIC };
    let small = |&orbitals: &usize| {
        let determinants =
            choose(orbitals, sector.up).saturating_mul(choose(orbitals, sector.down));
        determinants <= limit && (!ring || orbitals % 2 == 1)
    };
    let settings = |orbitals| MultiDeterminantSettings {
        determinants: DeterminantSum::ConfigurationInteraction { orbitals },
    };
    let found = (fewest..=most).rev().find(small).map(settings);
    found.filter(|s| s.exist_on(system.geometry).is_ok() && s.exist_for(sector).is_ok())
}

/// Fewest orbitals of the configuration interaction of three and more particles.
const FEWEST_ORBITALS: usize = 6;
/// Most orbitals of the configuration interaction of particles of one spin.
const POLARISED_ORBITALS: usize = 20;
/// Most determinants of a sum that nobody asked for, before those that do not count are left out.
const MOST_AUTOMATIC: u64 = 8_300;
/// The same where all particles have one spin: its strings are longer.
const MOST_POLARISED: u64 = 2_000;

/// Unrestricted Hartree–Fock from orbitals mixed by an angle: see [`HartreeFockOptions::mixing`].
fn unrestricted(
    sector: Sector,
    system: System,
    basis: OneBodyBasis,
    mixing: f64,
) -> Result<HartreeFock, EigenFailure> {
    let options = HartreeFockOptions { mixing, ..HartreeFockOptions::default() };
    hartree_fock(system.hamiltonian, basis, sector, &options)
}

/// The occupied orbitals of spin up and of spin down.
fn occupied(field: &HartreeFock, sector: Sector) -> [Mat<f64>; 2] {
    [
        field.orbitals_up.subcols(0, sector.up).to_owned(),
        field.orbitals_down.subcols(0, sector.down).to_owned(),
    ]
}

/// Orthonormal orbitals and the coefficients of `D_a(up) D_b(down) + D_b(up) D_a(down)` in their determinants.
fn half_projected(a: &Mat<f64>, b: &Mat<f64>) -> (Mat<f64>, Vec<f64>) {
    let mut span: Vec<faer::Col<f64>> = Vec::new();
    for column in a.col_iter().chain(b.col_iter()) {
        let mut rest = column.to_owned();
        // Twice, for what the first pass leaves by rounding.
        for _ in 0..2 {
            for s in &span {
                let overlap = s.transpose() * &rest;
                rest -= faer::Scale(overlap) * s;
            }
        }
        let length = rest.norm_l2();
        if length > DEPENDENT {
            span.push(faer::Scale(1.0 / length) * rest);
        }
    }
    let orbitals = Mat::from_fn(a.nrows(), span.len(), |i, k| span[k][i]);
    let (a, b) = (minors(&(orbitals.transpose() * a)), minors(&(orbitals.transpose() * b)));
    let mut coefficients = Vec::with_capacity(a.len() * a.len());
    for i in 0..a.len() {
        coefficients.extend((0..a.len()).map(|j| a[i] * b[j] + b[i] * a[j]));
    }
    (orbitals, coefficients)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{External, Hamiltonian};
    use crate::wavefunction::weyl::base::BaseState;
    use crate::wavefunction::weyl::base::expansion::ExpansionTrace;
    use std::f64::consts::PI;

    const WALLS: Geometry = Geometry::Box { half_width: 10.0 };

    /// Nuclei of charge one.
    fn hydrogens(positions: &[f64]) -> Hamiltonian {
        Hamiltonian {
            title: String::new(),
            external: External::Nuclei {
                charges: vec![1.0; positions.len()],
                positions: positions.to_vec(),
                softening: 1.0,
            },
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        }
    }

    #[test]
    fn as_many_orbitals_as_stay_few_determinants() {
        let hamiltonian = hydrogens(&[0.0]);
        let orbitals = |up, down, geometry| {
            let system = System { hamiltonian: &hamiltonian, geometry };
            automatic(Sector::new(up, down), system).map(|s| match s.determinants {
                DeterminantSum::ConfigurationInteraction { orbitals } => orbitals,
                DeterminantSum::HalfProjected => 0,
            })
        };
        for (up, down, expected) in [
            (2, 0, None),
            (3, 0, Some(20)),
            (0, 4, Some(16)),
            (5, 0, Some(13)),
            (6, 0, None),
            (2, 1, Some(14)),
            (2, 2, Some(14)),
            (3, 2, Some(10)),
            (3, 3, Some(9)),
            (4, 4, None),
        ] {
            assert_eq!(orbitals(up, down, &WALLS), expected, "({up}, {down})");
        }
        let ring = Geometry::Ring { circumference: 20.0 };
        assert_eq!(orbitals(3, 0, &ring), Some(19));
        assert_eq!(orbitals(7, 0, &ring), None);
        assert_eq!(orbitals(3, 1, &ring), Some(13));
        assert_eq!(orbitals(3, 3, &ring), Some(9));
    }

    /// Angle of a coordinate between [`WALLS`].
    fn angle(x: f64) -> f64 {
        PI * (x + 10.0) / 20.0
    }

    #[test]
    fn half_projection_is_symmetric_in_the_spins_and_covalent() {
        let hamiltonian = hydrogens(&[-3.0, 3.0]);
        let system = System { hamiltonian: &hamiltonian, geometry: &WALLS };
        let state = MultiDeterminantSettings::default().build(Sector::new(1, 1), system).unwrap();
        let log = |x: f64, y: f64| {
            state.forward(&[angle(x), angle(y)], false, &mut ExpansionTrace::default()).0
        };
        assert!((log(-3.0, 2.5) - log(2.5, -3.0)).abs() < 1e-12);
        assert!(log(-3.0, -2.5) < log(-3.0, 2.5) - 2.0);
    }

    /// Two electrons in all their important natural orbitals: the exact state of helium, as good as.
    #[test]
    fn the_interaction_of_configurations_is_that_of_the_exact_state() {
        let mut hamiltonian = hydrogens(&[0.0]);
        hamiltonian.external =
            External::Nuclei { charges: vec![2.0], positions: vec![0.0], softening: 1.0 };
        let system = System { hamiltonian: &hamiltonian, geometry: &WALLS };
        let overlap = |orbitals: usize| {
            let determinants = DeterminantSum::ConfigurationInteraction { orbitals };
            let settings = MultiDeterminantSettings { determinants };
            let state = settings.build(Sector::new(1, 1), system).unwrap();
            let log = |x: f64, y: f64| {
                state.forward(&[angle(x), angle(y)], false, &mut ExpansionTrace::default()).0
            };
            // The correlation hole.
            log(0.7, -0.7) - log(0.7, 0.7)
        };
        let (one, six, eight) = (overlap(1), overlap(6), overlap(8));
        assert!(
            one.abs() < 1e-9 && six > 0.05 && (six - eight).abs() < 1e-3,
            "{one} {six} {eight}"
        );
    }

    #[test]
    fn small_determinants_are_left_out_and_with_them_strings_that_do_not_occur() {
        // Two up and one down in four orbitals: six strings by four.
        let mut coefficients = vec![0.0; 24];
        coefficients[0] = 0.8;
        coefficients[5 * 4 + 2] = -0.6;
        coefficients[5 * 4 + 1] = 1e-6;
        coefficients[2 * 4 + 2] = 2e-6;
        coefficients[3 * 4] = 1.5e-6;
        let (strings, kept) = that_count(Sector::new(2, 1), 4, coefficients.clone());
        assert_eq!(strings[0], [[0, 1], [2, 3]]);
        assert_eq!(strings[1], [[0], [2]]);
        assert_eq!(kept, [0.8, 0.0, 0.0, -0.6]);
        // Of a smaller sum they are a larger part.
        coefficients[0] = 0.08;
        coefficients[5 * 4 + 2] = -0.06;
        let (strings, kept) = that_count(Sector::new(2, 1), 4, coefficients);
        assert_eq!(strings[0], [[0, 1], [1, 2], [0, 3], [2, 3]]);
        assert_eq!(strings[1], [[0], [1], [2]]);
        assert_eq!(kept.iter().filter(|c| **c != 0.0).count(), 5);
    }

    #[test]
    fn impossible_sums_are_refused() {
        let refused = |determinants: DeterminantSum, up: usize, down: usize, what: &str| {
            let settings = MultiDeterminantSettings { determinants };
            let error = settings.exist_for(Sector::new(up, down)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        let interaction = |orbitals| DeterminantSum::ConfigurationInteraction { orbitals };
        refused(DeterminantSum::HalfProjected, 2, 1, "as many particles up as down");
        refused(DeterminantSum::HalfProjected, 6, 6, "determinants");
        refused(interaction(2), 3, 0, "at least as many orbitals");
        refused(interaction(20), 4, 4, "determinants");
        refused(interaction(33), 1, 1, "at most 32 orbitals");
        refused(interaction(4), 1, 0, "at least two particles");
    }
}
