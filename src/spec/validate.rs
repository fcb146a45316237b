//! Physical and practical bounds of every number in a spec.
//!
//! One function for each type, in the order of its fields. The structs are taken apart without `..`, so
//! that a new field does not compile before its bound is thought of.

use super::error::{Known, Problem};
use super::{
    ReferenceSource, ResolvedSpec, RunSpec, StateWeights, StatesSettings, TemperatureSettings,
    Temperatures, size,
};
use crate::contact::base::Base;
use crate::contact::{self, Gas};
use crate::math::spline::circular::FEWEST_CELLS;
use crate::objective::mixture::MOST_STATES;
use crate::optimise::{Bound, OptimiserSettings};
use crate::system::judgement;
use crate::system::landscape::Landscape;
use crate::system::sector::MOST_PARTICLES;
use crate::system::syntax::octaves;
use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector};
use crate::train::Faults;
use crate::wavefunction::WavefunctionSettings;
use crate::wavefunction::sector_base::{self, SectorBaseSettings};
use crate::wavefunction::waveflow::WaveflowSettings;
use crate::wavefunction::weyl::{BaseSettings, NO_TWO_BODY, WeylSettings};
use std::fmt::Display;

/// A value that violates a bound.
#[derive(Debug, thiserror::Error)]
#[error("field {field}: {problem}")]
pub struct Violation {
    /// Path of the field, for instance `hamiltonian.external.charges[1]`.
    pub field: String,
    /// Which bound, and the value found.
    pub problem: Problem,
}

type Checked = Result<(), Violation>;

/// Most times that knots are doubled: 24 cells have become 6144.
pub const MOST_REFINEMENTS: u64 = 8;

/// Most temperatures of a sweep.
const MOST_TEMPERATURES: u64 = 100;

/// Most elements of a list of nuclei, and most potentials in all sums of a Hamiltonian.
const MAX_PARTS: usize = 256;

/// Largest length in bohr, and inverse of the smallest: beyond, fourth powers leave sensible numbers.
const MAX_LENGTH: f64 = 1e6;

impl ResolvedSpec {
    /// Checks every bound, as [`load`](super::load) does: for specs that were made in code.
    ///
    /// # Errors
    ///
    /// The first [`Violation`], with field paths as in a spec with an inline Hamiltonian.
    pub fn validate(&self) -> Checked {
        run(self)?;
        let inline = |v: Violation| Violation { field: format!("hamiltonian.{}", v.field), ..v };
        hamiltonian(&self.hamiltonian).map_err(inline)?;
        hamiltonian_in(&self.hamiltonian, &self.geometry).map_err(inline)?;
        ground_state(&self.hamiltonian, &self.geometry, self.sector).map_err(inline)?;
        contact_in(&self.hamiltonian, &self.geometry, self.sector).map_err(inline)?;
        contact_by(&self.wavefunction, &self.hamiltonian, &self.geometry, self.sector)?;
        ensemble(self)
    }
}

/// Checks everything but the Hamiltonian.
///
/// # Errors
///
/// The first [`Violation`].
pub fn run<H>(spec: &RunSpec<H>) -> Checked {
    let RunSpec {
        title,
        hamiltonian: _,
        sector,
        geometry,
        wavefunction,
        optimiser,
        samples_per_iteration,
        iterations,
        final_samples,
        sampling: _,
        refinements,
        stopping: _,
        faults,
        scramblings,
        seed: _,
        reference,
        states,
        temperature,
        project,
    } = spec;
    if *project && (states.is_some() || temperature.is_some()) {
        let needs = "a projection is onto the ground state alone: must be false with `states` or `temperature`";
        return violated("project", needs, "true".to_string());
    }
    not_blank("title", title)?;
    self::sector(sector)?;
    self::geometry(geometry)?;
    periodicity(sector, geometry)?;
    check_wavefunction(wavefunction, sector, geometry)?;
    check_optimiser(optimiser)?;
    // Two samples are the fewest with a variance.
    within("samples_per_iteration", *samples_per_iteration, 2, 1 << 24)?;
    within("iterations", *iterations, 0, 10_000_000)?;
    within("final_samples", *final_samples, 2, 1 << 32)?;
    within("refinements", *refinements, 0, MOST_REFINEMENTS)?;
    refinable(*refinements, wavefunction)?;
    // Two are the fewest with a scatter.
    within("scramblings", *scramblings, 2, 1024)?;
    check_memory(spec)?;
    if *faults != Faults::Stop {
        between("faults.share", faults.share(), 0.0, 0.5)?;
    }
    check_reference(reference)?;
    check_ensemble(spec, states.as_ref(), temperature.as_ref())
}

/// States and temperature: bounds, and what the fields beside them must be.
fn check_ensemble<H>(
    spec: &RunSpec<H>,
    states: Option<&StatesSettings>,
    temperature: Option<&TemperatureSettings>,
) -> Checked {
    let field = match (states, temperature) {
        (None, None) => return Ok(()),
        (Some(_), Some(_)) => {
            let needs = "a run is of states or of a temperature: one of the two must go";
            return violated("temperature", needs, "both".to_owned());
        }
        (Some(StatesSettings { count, weights }), None) => {
            within("states.count", *count, 1, MOST_STATES as u64)?;
            match weights {
                StateWeights::Equal => {}
                StateWeights::Decreasing(ratio) => {
                    between("states.weights", *ratio, 1e-3, 1.0)?;
                }
                StateWeights::List(list) => {
                    if list.len() != *count {
                        let needs = format!("one weight for each of the {count} states is needed");
                        return violated("states.weights", needs, list.len().to_string());
                    }
                    for weight in list {
                        between("states.weights", *weight, 1e-6, 1e6)?;
                    }
                }
            }
            // One state is a ground state like any other.
            if *count == 1 {
                return Ok(());
            }
            "states"
        }
        (None, Some(TemperatureSettings { kt })) => {
            match *kt {
                Temperatures::One(kt) => between("temperature.kT", kt, 1e-9, 1e9)?,
                Temperatures::Range { from, to, points } => {
                    between("temperature.kT.from", from, 1e-9, 1e9)?;
                    between("temperature.kT.to", to, 1e-9, 1e9)?;
                    within("temperature.kT.points", points, 1, MOST_TEMPERATURES)?;
                }
            }
            "temperature"
        }
    };
    match &spec.wavefunction {
        WavefunctionSettings::Waveflow(_) => {
            let needs = format!("`{field}` needs the wavefunction Weyl");
            return violated("wavefunction", needs, "Waveflow".to_owned());
        }
        WavefunctionSettings::SectorBase(_) => {
            let needs = format!(
                "`{field}` needs the wavefunction Weyl, and a contact interaction has no place in it"
            );
            return violated("wavefunction", needs, "SectorBase".to_owned());
        }
        WavefunctionSettings::Weyl(settings) if settings.base != BaseSettings::Automatic => {
            let needs = format!(
                "with `{field}` the base is chosen, a configuration interaction: leave it out"
            );
            return violated("wavefunction.base", needs, settings.base.to_string());
        }
        WavefunctionSettings::Weyl(_) => {}
    }
    match &spec.optimiser {
        OptimiserSettings::Automatic | OptimiserSettings::RayleighGaussNewton(_) => {}
        other => {
            let needs = format!("`{field}` needs the optimiser RayleighGaussNewton");
            return violated("optimiser", needs, other.settings().name().to_owned());
        }
    }
    if spec.refinements > 0 {
        let needs = format!("with `{field}` it must be 0");
        return violated("refinements", needs, spec.refinements.to_string());
    }
    if let ReferenceSource::Literal { .. } = spec.reference {
        let needs = format!("with `{field}` it must be Exact or None: a literal is one energy");
        return violated("reference", needs, "Literal".to_owned());
    }
    Ok(())
}

/// Whether a wavefunction can be refined where a spec asks for that.
///
/// # Errors
///
/// The [`Violation`] of `refinements`.
pub fn refinable(refinements: usize, wavefunction: &WavefunctionSettings) -> Checked {
    if refinements == 0 || wavefunction.can_refine() {
        return Ok(());
    }
    let needs = "the wavefunction has no splines to refine: must be 0";
    violated("refinements", needs, refinements.to_string())
}

/// Whether the trained state can be projected where a spec asks for that.
///
/// # Errors
///
/// The [`Violation`] that says why not.
pub fn projection(spec: &ResolvedSpec) -> Checked {
    if !spec.project || !contact::matters(&spec.hamiltonian, spec.sector) {
        return Ok(());
    }
    let needs = "the moves of a projection know neither a Contact nor more than two components: must be false (`weylflow exact` gives \
                 the energy, and that of a SectorBase is known without samples)";
    violated("project", needs, "true".to_owned())
}

/// Whether states or a temperature can be had of a Hamiltonian: what diverges at contact has no states that determinants
/// approach.
///
/// # Errors
///
/// The [`Violation`] that says so, of the field that asks for it.
pub fn ensemble(spec: &ResolvedSpec) -> Checked {
    let field = match (&spec.states, &spec.temperature) {
        (Some(states), _) if states.count > 1 => "states",
        (_, Some(_)) => "temperature",
        _ => return Ok(()),
    };
    let refuse = |bound: &str, found: String, known: Known| {
        let problem = Problem::NoEnsemble { bound: bound.to_owned(), found, known };
        Err(Violation { field: field.to_owned(), problem })
    };
    if spec.sector.is_many() {
        let bound = "the sector must have two components at most: determinants know no others";
        let found = spec.sector.components().len().to_string() + " components";
        return refuse(bound, found, Known::GroundState);
    }
    if contact::matters(&spec.hamiltonian, spec.sector) {
        let bound = "the interaction must have no Contact: its states have cusps, and are no sums of determinants";
        return refuse(bound, "Contact".to_owned(), Known::TrapLevels);
    }
    let contact = spec.hamiltonian.interaction.value(0.0);
    if contact.is_finite() || spec.sector.particles() == 1 {
        return Ok(());
    }
    let bound = "the interaction must be finite at contact: the states of one that diverges are no sums of determinants";
    refuse(bound, format!("w(0) = {contact}"), Known::ClosedForms)
}

/// Every number within its bounds, a run may still be too large.
fn check_memory<H>(spec: &RunSpec<H>) -> Checked {
    let bytes = size::memory(spec);
    if bytes <= size::MOST_MEMORY {
        return Ok(());
    }
    let gib = |bytes: f64| bytes / (1u64 << 30) as f64;
    let parameters = size::parameters(spec);
    let samples = spec.samples_per_iteration;
    // Where the square of the parameters alone is too much, no number of samples helps.
    let field = if 8.0 * (parameters as f64).powi(2) > size::MOST_MEMORY {
        "wavefunction"
    } else {
        "samples_per_iteration"
    };
    let bound = format!(
        "the matrices of a step may take {} GiB: fewer samples or parameters are needed",
        gib(size::MOST_MEMORY)
    );
    let found = format!("{:.1} GiB for {samples} samples and {parameters} parameters", gib(bytes));
    violated(field, bound, found)
}

/// Checks a sector by itself.
///
/// # Errors
///
/// The first [`Violation`].
pub fn sector(sector: &Sector) -> Checked {
    if sector.is_many() {
        let (n, counts) = (sector.particles(), sector.components());
        if n > MOST_PARTICLES {
            let bound = format!("at most {MOST_PARTICLES} particles are allowed");
            return violated("sector", bound, format!("{n} (components {counts:?})"));
        }
        return Ok(());
    }
    let Sector { up, down, .. } = *sector;
    within("sector.up", up, 0, MOST_PARTICLES as u64)?;
    within("sector.down", down, 0, MOST_PARTICLES as u64)?;
    let total = format!("{} (up {up}, down {down})", up + down);
    if up + down == 0 {
        return violated("sector", "at least one particle is needed", total);
    }
    if up + down > MOST_PARTICLES {
        return violated(
            "sector",
            format!("at most {MOST_PARTICLES} particles are allowed"),
            total,
        );
    }
    Ok(())
}

/// Checks a geometry by itself.
///
/// # Errors
///
/// The [`Violation`] of its length.
pub fn geometry(geometry: &Geometry) -> Checked {
    match *geometry {
        Geometry::Box { half_width } => length("geometry.half_width", half_width),
        Geometry::Line => Ok(()),
        Geometry::Ring { circumference } => length("geometry.circumference", circumference),
    }
}

/// On a ring the ground state of an even number of equal spins is antiperiodic.
fn periodicity(sector: &Sector, geometry: &Geometry) -> Checked {
    if let Geometry::Ring { .. } = geometry {
        let numbers: Vec<(&str, usize)> = if sector.is_many() {
            sector.components().into_iter().map(|n| ("sector", n)).collect()
        } else {
            vec![("sector.up", sector.up), ("sector.down", sector.down)]
        };
        for (field, n) in numbers {
            if n > 0 && n % 2 == 0 {
                let bound = "on a Ring the number of particles of each spin must be odd, because the \
                             ground state of an even number is not periodic";
                return violated(field, bound, n);
            }
        }
    }
    Ok(())
}

fn check_wavefunction(
    wavefunction: &WavefunctionSettings,
    sector: &Sector,
    geometry: &Geometry,
) -> Checked {
    match wavefunction {
        WavefunctionSettings::Waveflow(settings) => {
            if !matches!(geometry, Geometry::Box { .. }) {
                return rule(
                    "geometry",
                    "the Waveflow wavefunction vanishes at walls and supports only the geometry Box",
                );
            }
            waveflow(settings)
        }
        WavefunctionSettings::Weyl(settings) => weyl(settings, sector, geometry),
        WavefunctionSettings::SectorBase(SectorBaseSettings { functions }) => {
            let most = sector_base::MOST_FUNCTIONS as u64;
            within("wavefunction.functions", functions.unwrap_or(2), 2, most)
        }
    }
}

fn weyl(settings: &WeylSettings, sector: &Sector, geometry: &Geometry) -> Checked {
    let WeylSettings {
        base,
        layers,
        monotone_cells,
        pair_cells,
        coordinate_cells,
        coordinate_power,
        two_body_functions,
        slope_floor,
        bound_share,
    } = settings;
    if let Err(error) = base.exists_on(geometry).and_then(|()| base.exists_for(*sector)) {
        return rule("wavefunction.base", &error.to_string());
    }
    if let Some(layers) = layers {
        within("wavefunction.layers", layers.len(), 0, 64)?;
        if let Some(i) = layers.iter().position(|l| !l.about().many).filter(|_| sector.is_many()) {
            return rule(&format!("wavefunction.layers[{i}]"), NO_TWO_BODY);
        }
    }
    for (field, n) in [
        ("wavefunction.monotone_cells", *monotone_cells),
        ("wavefunction.pair_cells", pair_cells.unwrap_or(FEWEST_CELLS)),
        ("wavefunction.coordinate_cells", *coordinate_cells),
    ] {
        within(field, n, FEWEST_CELLS as u64, 4096)?;
    }
    within("wavefunction.two_body_functions", *two_body_functions, 1, 64)?;
    between("wavefunction.slope_floor", *slope_floor, 0.0, 1.0)?;
    between("wavefunction.bound_share", *bound_share, 0.0, 1.0)?;
    positive("wavefunction.coordinate_power", *coordinate_power)
}

fn waveflow(settings: &WaveflowSettings) -> Checked {
    let WaveflowSettings {
        coordinate: _,
        coordinate_power,
        valley_power,
        chart: _,
        layers,
        degree,
        knots,
        prior_knots,
        hidden,
        slope_floor,
        orthogonalisation: _,
    } = settings;
    within("wavefunction.layers", *layers, 0, 32)?;
    within("wavefunction.degree", *degree, 1, 12)?;
    if *degree < 4 {
        let bound =
            "must be at least 4, because the local energy takes three derivatives of the map";
        return violated("wavefunction.degree", bound, degree);
    }
    for (field, n) in [("wavefunction.knots", *knots), ("wavefunction.prior_knots", *prior_knots)] {
        if n < degree + 1 {
            let bound = format!("must be at least degree + 1 = {}", degree + 1);
            return violated(field, bound, n);
        }
        within(field, n, 2, 4096)?;
    }
    count("wavefunction.hidden", hidden.len(), 1, 8, "hidden layer")?;
    for (i, &width) in hidden.iter().enumerate() {
        within(&format!("wavefunction.hidden[{i}]"), width, 1, 1024)?;
    }
    between("wavefunction.slope_floor", *slope_floor, 0.0, 1.0)?;
    positive("wavefunction.valley_power", *valley_power)?;
    positive("wavefunction.coordinate_power", *coordinate_power)
}

fn check_optimiser(optimiser: &OptimiserSettings) -> Checked {
    for (name, value, bound) in optimiser.settings().bounds() {
        let field = format!("optimiser.{name}");
        match bound {
            Bound::Positive => positive(&field, value)?,
            Bound::NotNegative => not_negative(&field, value)?,
            Bound::Fraction => fraction(&field, value)?,
            Bound::Decay => decay(&field, value)?,
            Bound::Count => within(&field, value as usize, 1, 4096)?,
        }
    }
    Ok(())
}

/// A weight of the past: at least 0 and below 1.
fn decay(field: &str, value: f64) -> Checked {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    violated(field, "must be at least 0 and below 1", value)
}

fn check_reference(reference: &ReferenceSource) -> Checked {
    match reference {
        ReferenceSource::Exact | ReferenceSource::None => Ok(()),
        ReferenceSource::Literal { energy, source } => {
            finite("reference.energy", *energy)?;
            not_blank("reference.source", source)
        }
    }
}

/// Checks a temperature, in Hartree.
///
/// # Errors
///
/// A [`Violation`] of `temperature`.
pub fn temperature(kt: f64) -> Checked {
    positive("temperature", kt)
}

/// Checks a Hamiltonian by itself; field paths start at the Hamiltonian.
///
/// # Errors
///
/// The first [`Violation`].
pub fn hamiltonian(hamiltonian: &Hamiltonian) -> Checked {
    let Hamiltonian { title: _, external, interaction } = hamiltonian;
    // Sums of sums multiply, and every evaluation of the potential visits all of them.
    count("external", parts(external), 1, MAX_PARTS, "potential")?;
    count("interaction", interactions(interaction), 1, MAX_PARTS, "interaction")?;
    check_external("external", external)?;
    check_interaction("interaction", interaction)
}

fn check_external(path: &str, external: &External) -> Checked {
    let field = |name: &str| format!("{path}.{name}");
    match external {
        External::Free | External::Formula(_) | External::Moved(_) => Ok(()),
        External::Nuclei { charges, positions, softening } => {
            count(&field("charges"), charges.len(), 1, MAX_PARTS, "charge")?;
            if charges.len() != positions.len() {
                let bound = format!("as many positions as charges are needed, {}", charges.len());
                return violated(&field("positions"), bound, positions.len());
            }
            finite_elements(&field("charges"), charges)?;
            finite_elements(&field("positions"), positions)?;
            length(&field("softening"), *softening)
        }
        External::Harmonic { frequency } => positive(&field("frequency"), *frequency),
        External::Tabulated(table) => match table.problem() {
            None => Ok(()),
            Some(p) => violated(&field(&p.field()), p.bound, p.found),
        },
        External::DoubleWell { half_separation, strength } => {
            length(&field("half_separation"), *half_separation)?;
            positive(&field("strength"), *strength)
        }
        External::Lattice { depth, period } => {
            finite(&field("depth"), *depth)?;
            length(&field("period"), *period)
        }
        External::Sum(parts) => {
            count(path, parts.len(), 1, MAX_PARTS, "potential")?;
            let check = |(i, part)| check_external(&format!("{path}[{i}]"), part);
            parts.iter().enumerate().try_for_each(check)
        }
    }
}

/// Potentials in a sum and all sums in it; an empty sum counts, so that its own check can name it.
fn parts(external: &External) -> usize {
    match external {
        External::Sum(all) => all.iter().map(parts).sum::<usize>().max(1),
        _ => 1,
    }
}

/// As [`parts`], of interactions.
fn interactions(interaction: &Interaction) -> usize {
    match interaction {
        Interaction::Sum(all) => all.iter().map(interactions).sum::<usize>().max(1),
        _ => 1,
    }
}

/// Distances at which an interaction must be even: all scales about contact and about whatever its formula makes special.
fn distances(interaction: &Interaction) -> Vec<f64> {
    let special = interaction.special_points();
    let mut all: Vec<f64> = special.into_iter().flat_map(octaves).filter(|d| *d > 0.0).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

fn check_interaction(path: &str, interaction: &Interaction) -> Checked {
    let field = |name: &str| format!("{path}.{name}");
    match interaction {
        Interaction::None => {}
        Interaction::SoftCoulomb { strength, softening }
        | Interaction::Dipolar { strength, softening } => {
            finite(&field("strength"), *strength)?;
            length(&field("softening"), *softening)?;
        }
        Interaction::Gaussian { strength, width } => {
            finite(&field("strength"), *strength)?;
            length(&field("width"), *width)?;
        }
        Interaction::Harmonic { stiffness } => finite(&field("stiffness"), *stiffness)?,
        Interaction::InverseSquare { strength } => finite(&field("strength"), *strength)?,
        Interaction::Contact { strength } => {
            if strength.is_nan() || *strength == f64::NEG_INFINITY {
                let bound = "must be a finite number, or `inf` for impenetrable particles";
                return violated(&field("strength"), bound, strength);
            }
        }
        Interaction::Sum(parts) => {
            count(path, parts.len(), 1, MAX_PARTS, "interaction")?;
            let check = |(i, part)| check_interaction(&format!("{path}[{i}]"), part);
            parts.iter().enumerate().try_for_each(check)?;
        }
        Interaction::Formula(_) | Interaction::Scaled(_) => {}
    }
    if !matches!(interaction, Interaction::Formula(_)) {
        return Ok(());
    }
    for d in distances(interaction) {
        let (right, left) = (interaction.value(d), interaction.value(-d));
        // Neither being a number is for `hamiltonian_in` to judge, which knows the distances in use.
        let even = right == left
            || (right.is_nan() && left.is_nan())
            || (right - left).abs() <= 1e-9 * right.abs().max(left.abs()).max(1e-9);
        if !even {
            let found = format!("w({d}) = {right} and w({}) = {left}", -d);
            return violated(path, "w(d) must be even in d (write abs(d) for |d|)", found);
        }
    }
    Ok(())
}

/// Checks a Hamiltonian in the space it is used in: finite potentials, nuclei inside, `v` periodic on a
/// ring. The Hamiltonian and the geometry must be valid by themselves.
///
/// # Errors
///
/// The first [`Violation`]; field paths start at the Hamiltonian.
pub fn hamiltonian_in(hamiltonian: &Hamiltonian, geometry: &Geometry) -> Checked {
    nuclei_inside("external", &hamiltonian.external, geometry)?;
    if *geometry != Geometry::Line {
        tables_reach("external", &hamiltonian.external, geometry.interval())?;
    }
    external_finite("external", &hamiltonian.external, geometry)?;
    external_periodic(&hamiltonian.external, geometry)?;
    interaction_finite(&hamiltonian.interaction, geometry)
}

/// Checks that there is a ground state of finite energy: see [`judgement::ground_state`]. Everything else must be valid.
///
/// # Errors
///
/// A [`Violation`] of the potential that is to blame; field paths start at the Hamiltonian.
pub fn ground_state(hamiltonian: &Hamiltonian, geometry: &Geometry, sector: Sector) -> Checked {
    judgement::ground_state(hamiltonian, geometry, sector)
        .or_else(|reason| rule(reason.field(), &reason.to_string()))?;
    let external = &hamiltonian.external;
    if *geometry == Geometry::Line && has_tables(external) {
        // Beyond its points a table is a straight line, which holds the particles and says nothing about them.
        return tables_reach(
            "external",
            external,
            Landscape::of(hamiltonian, geometry, sector).region,
        );
    }
    Ok(())
}

/// Checks that a contact interaction is one that can be treated where it is.
///
/// # Errors
///
/// A [`Violation`] of the potential that is in the way; field paths start at the Hamiltonian.
pub fn contact_in(hamiltonian: &Hamiltonian, geometry: &Geometry, sector: Sector) -> Checked {
    // More components without a contact have the flow as well, which any potential is one for.
    if !contact::matters(hamiltonian, sector) || hamiltonian.interaction.contact() == 0.0 {
        return Ok(());
    }
    match Gas::new(hamiltonian, geometry, sector) {
        Ok(_) => Ok(()),
        Err(error) => rule(error.field(), &error.to_string()),
    }
}

/// Checks that the wavefunction has the cusp of a contact interaction, and none where there is none.
///
/// # Errors
///
/// A [`Violation`] of the wavefunction.
pub fn contact_by(
    wavefunction: &WavefunctionSettings,
    hamiltonian: &Hamiltonian,
    geometry: &Geometry,
    sector: Sector,
) -> Checked {
    let matters = contact::matters(hamiltonian, sector);
    let name = match wavefunction {
        WavefunctionSettings::Waveflow(_) => "Waveflow has",
        WavefunctionSettings::Weyl(_) => "the layers of Weyl have",
        WavefunctionSettings::SectorBase(settings) => {
            if !matters {
                return rule(
                    "wavefunction",
                    "SectorBase is for contact interactions between different spins and for more than two components: choose Weyl(..), or leave the \
                     field out",
                );
            }
            let gas = match Gas::new(hamiltonian, geometry, sector) {
                Ok(gas) => gas,
                Err(error) if hamiltonian.interaction.contact() == 0.0 => {
                    return rule("wavefunction", &format!("{error}; Weyl() knows any potential"));
                }
                Err(_) => return Ok(()),
            };
            let functions = settings.functions(&gas);
            let (size, most) = (Base::dimension(&gas, functions), sector_base::MOST_COEFFICIENTS);
            if size > most {
                let bound = format!(
                    "the sector base may have {most} coefficients: fewer functions or particles are needed"
                );
                let field =
                    if settings.functions.is_some() { "wavefunction.functions" } else { "sector" };
                return violated(
                    field,
                    bound,
                    format!("{size} coefficients for {functions} functions"),
                );
            }
            return Ok(());
        }
    };
    if !matters {
        return Ok(());
    }
    if sector.is_many() && hamiltonian.interaction.contact() == 0.0 {
        return match wavefunction {
            WavefunctionSettings::Weyl(_) => Ok(()),
            _ => rule(
                "wavefunction",
                "a Waveflow knows two components: choose SectorBase() or Weyl(), or leave the field out",
            ),
        };
    }
    let message = format!(
        "{name} no cusp where different spins meet, which a contact interaction needs, and would change one below: \
         choose SectorBase(), or leave the field out"
    );
    rule("wavefunction", &message)
}

/// Checks that a trained wavefunction may follow the particles where they meet; the exact solver can do more.
///
/// # Errors
///
/// A [`Violation`] of the interaction.
pub fn trainable(hamiltonian: &Hamiltonian, sector: Sector) -> Checked {
    match judgement::beyond_flows(hamiltonian, sector) {
        Some(reason) => rule("interaction", &reason),
        None => Ok(()),
    }
}

/// Runs `check` on every potential that is not a sum, with its path.
fn for_each_part(
    path: &str,
    external: &External,
    check: &impl Fn(&str, &External) -> Checked,
) -> Checked {
    match external {
        External::Sum(parts) => parts
            .iter()
            .enumerate()
            .try_for_each(|(i, part)| for_each_part(&format!("{path}[{i}]"), part, check)),
        _ => check(path, external),
    }
}

fn nuclei_inside(path: &str, external: &External, geometry: &Geometry) -> Checked {
    let (left, right) = geometry.window();
    for_each_part(path, external, &|path, part| {
        if let External::Nuclei { positions, .. } = part {
            for (i, &x) in positions.iter().enumerate() {
                // A nucleus on a wall is not inside; on a ring both ends are one ordinary point.
                let inside = match geometry {
                    Geometry::Box { .. } => left < x && x < right,
                    Geometry::Line => true,
                    Geometry::Ring { .. } => left <= x && x <= right,
                };
                if !inside {
                    let bound = format!("every nucleus must lie between {left} and {right}");
                    return violated(&format!("{path}.positions[{i}]"), bound, x);
                }
            }
        }
        Ok(())
    })
}

fn has_tables(external: &External) -> bool {
    match external {
        External::Tabulated(_) => true,
        External::Sum(parts) => parts.iter().any(has_tables),
        _ => false,
    }
}

/// Checks that tables have points everywhere between `left` and `right`, where the particles are.
fn tables_reach(path: &str, external: &External, (left, right): (f64, f64)) -> Checked {
    for_each_part(path, external, &|path, part| {
        let External::Tabulated(table) = part else { return Ok(()) };
        let (first, last) = table.interval();
        // Points that were computed end at a wall up to rounding.
        let slack = 1e-9 * (last - first);
        if table.is_periodic() || (first <= left + slack && right - slack <= last) {
            return Ok(());
        }
        let bound =
            format!("the points must reach from {left} to {right} bohr, where the particles go");
        violated(&format!("{path}.points"), bound, format!("{first} to {last}"))
    })
}

/// Intervals of the grid on which potentials are looked at; with an even number, the middle is a point.
const GRID: u32 = 2000;

fn external_finite(path: &str, external: &External, geometry: &Geometry) -> Checked {
    let (left, right) = match geometry {
        Geometry::Line => {
            // Where a particle may be, and as much again on either side: beyond, infinity is as good as a wall.
            let hamiltonian = Hamiltonian {
                title: String::new(),
                external: external.clone(),
                interaction: Interaction::None,
            };
            let found = Landscape::of(&hamiltonian, geometry, Sector::new(1, 0));
            let width = (found.region.1 - found.region.0).max(found.length).min(MAX_LENGTH);
            (found.region.0 - width, found.region.1 + width)
        }
        finite => finite.interval(),
    };
    for_each_part(path, external, &|path, part| {
        // Not at the walls: the wavefunction vanishes there, and a potential may diverge.
        let x = |j: u32| left + (right - left) * (f64::from(j) / f64::from(GRID));
        let values: Vec<f64> = (1..GRID).map(|j| part.value(x(j))).collect();
        match first_pole(&values) {
            // The number of grid points is far below the range of u32.
            Some(i) => not_finite(path, "v(x)", "x", x(i as u32 + 1), values[i]),
            None => Ok(()),
        }
    })
}

fn interaction_finite(interaction: &Interaction, geometry: &Geometry) -> Checked {
    let (left, right) = geometry.window();
    let longest = match geometry {
        Geometry::Box { .. } | Geometry::Line => right - left,
        // The diameter: the longest chord.
        Geometry::Ring { circumference } => circumference / std::f64::consts::PI,
    };
    // From the first distance beyond zero: interactions may diverge at contact.
    let d = |j: u32| longest * (f64::from(j) / f64::from(GRID));
    let values: Vec<f64> = (1..=GRID).map(|j| interaction.value(d(j))).collect();
    match first_pole(&values) {
        Some(i) => not_finite("interaction", "w(d)", "d", d(i as u32 + 1), values[i]),
        None => Ok(()),
    }
}

/// Index of the first value that is not finite, or so much larger than those around that only a pole
/// explains it: rounding keeps `1/(x - 0.3)` finite at the grid point 0.3.
fn first_pole(values: &[f64]) -> Option<usize> {
    (0..values.len()).find(|&i| {
        let neighbour = |i: Option<usize>| i.and_then(|i| values.get(i)).map(|v| v.abs());
        let spike = match (neighbour(i.checked_sub(1)), neighbour(i.checked_add(1))) {
            (Some(a), Some(b)) => values[i].abs() > 1e6 * (1.0 + a.max(b)),
            _ => false,
        };
        !values[i].is_finite() || spike
    })
}

fn not_finite(path: &str, function: &str, variable: &str, at: f64, value: f64) -> Checked {
    let found = format!("{value} at {variable} = {at}");
    violated(path, format!("{function} must be finite in the space of the particles"), found)
}

fn external_periodic(external: &External, geometry: &Geometry) -> Checked {
    let Geometry::Ring { circumference } = geometry else { return Ok(()) };
    let (left, right) = geometry.interval();
    let close = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-8 * scale.max(1e-3);
    let values = (external.value(left), external.value(right));
    let slopes = (external.derivative(left), external.derivative(right));
    let scale = values.0.abs().max(slopes.0.abs()).max(slopes.1.abs());
    if close(values.0, values.1, scale) && close(slopes.0, slopes.1, scale) {
        return Ok(());
    }
    let found = format!(
        "v = {} and {}, dv/dx = {} and {} where the ring of circumference {circumference} closes",
        values.0, values.1, slopes.0, slopes.1
    );
    violated("external", "on a Ring v(x) must be periodic with its derivative", found)
}

fn violated(field: &str, bound: impl Into<String>, found: impl Display) -> Checked {
    Err(Violation { field: field.to_owned(), problem: Problem::bound(bound, found) })
}

fn rule(field: &str, message: &str) -> Checked {
    Err(Violation { field: field.to_owned(), problem: Problem::Rule(message.to_owned()) })
}

fn not_blank(field: &str, text: &str) -> Checked {
    if text.trim().is_empty() {
        return violated(field, "must not be empty", format!("{text:?}"));
    }
    Ok(())
}

fn within(field: &str, value: usize, least: u64, most: u64) -> Checked {
    // `usize` has at most 64 bits on every platform Rust supports.
    let wide = value as u64;
    if wide < least || wide > most {
        return violated(field, format!("must be between {least} and {most}"), value);
    }
    Ok(())
}

fn count(field: &str, found: usize, least: usize, most: usize, what: &str) -> Checked {
    if found < least {
        return violated(field, format!("at least {least} {what} is needed"), found);
    }
    if found > most {
        return violated(field, format!("at most {most} {what}s are allowed"), found);
    }
    Ok(())
}

fn finite(field: &str, value: f64) -> Checked {
    if value.is_finite() { Ok(()) } else { violated(field, "must be a finite number", value) }
}

fn finite_elements(field: &str, values: &[f64]) -> Checked {
    values.iter().enumerate().try_for_each(|(i, &value)| finite(&format!("{field}[{i}]"), value))
}

fn positive(field: &str, value: f64) -> Checked {
    finite(field, value)?;
    if value > 0.0 { Ok(()) } else { violated(field, "must be positive", value) }
}

fn length(field: &str, value: f64) -> Checked {
    positive(field, value)?;
    if (1.0 / MAX_LENGTH..=MAX_LENGTH).contains(&value) {
        return Ok(());
    }
    violated(
        field,
        format!("must be between {:e} and {MAX_LENGTH:e} bohr", 1.0 / MAX_LENGTH),
        value,
    )
}

fn between(field: &str, value: f64, least: f64, most: f64) -> Checked {
    if least < value && value < most {
        return Ok(());
    }
    violated(field, format!("must be above {least} and below {most}"), value)
}

fn not_negative(field: &str, value: f64) -> Checked {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    violated(field, "must be finite and at least 0", value)
}

fn fraction(field: &str, value: f64) -> Checked {
    if 0.0 < value && value <= 1.0 {
        return Ok(());
    }
    violated(field, "must be above 0 and at most 1", value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Sampling;

    fn hamiltonian_with(external: External, interaction: Interaction) -> Hamiltonian {
        Hamiltonian { title: String::new(), external, interaction }
    }

    #[test]
    fn potentials_on_a_ring_must_close_smoothly() {
        let ring = Geometry::Ring { circumference: 6.0 };
        let check = |v| hamiltonian_in(&hamiltonian_with(v, Interaction::None), &ring);
        let formula = |text: &str| External::Formula(text.parse().unwrap());
        assert!(check(External::Free).is_ok());
        assert!(check(External::Lattice { depth: 4.0, period: 2.0 }).is_ok());
        assert!(check(formula("cos(tau*x/6) + sin(tau*x/3)")).is_ok());
        let parts = [External::Lattice { depth: 1e6, period: 3.0 }, formula("cos(tau*x/6)")];
        assert!(check(External::Sum(parts.to_vec())).is_ok());
        for v in [
            External::Harmonic { frequency: 1.0 },
            External::Lattice { depth: 4.0, period: 2.5 },
            formula("x"),
            formula("1e-3*x^2"),
            External::Nuclei { charges: vec![1.0], positions: vec![0.0], softening: 1.0 },
        ] {
            let violation = check(v).unwrap_err();
            assert_eq!(violation.field, "external");
            assert!(violation.to_string().contains("must be periodic"), "{violation}");
        }
    }

    #[test]
    fn poles_are_told_from_steep_potentials() {
        let check = |text: &str| {
            let v = External::Formula(text.parse().unwrap());
            let geometry = Geometry::Box { half_width: 10.0 };
            hamiltonian_in(&hamiltonian_with(v, Interaction::None), &geometry)
        };
        for fine in ["x^20", "exp(x^2)", "-1e4*exp(-1e4*x^2)", "1/(x^2 - 100)", "1e5/(x^2+1e-2)"] {
            assert!(check(fine).is_ok(), "{fine}");
        }
        for pole in ["1/x", "-1/abs(x)", "1/(x-1)", "1/(x-0.3)^2", "ln(x-4)", "tan(pi*x/2)", "x^x"]
        {
            assert!(check(pole).is_err(), "{pole}");
        }
    }

    #[test]
    fn interactions_must_be_even_and_may_diverge_at_contact_only() {
        let check = |text: &str| {
            let h = hamiltonian_with(External::Free, Interaction::Formula(text.parse().unwrap()));
            hamiltonian(&h).and_then(|()| hamiltonian_in(&h, &Geometry::Box { half_width: 10.0 }))
        };
        for fine in ["2/d^2", "1/abs(d)", "-ln(abs(d))", "d^2/8", "0", "exp(-d^2)", "1e-12*d^2"] {
            assert!(check(fine).is_ok(), "{fine}");
        }
        for wrong in ["d", "1/d", "d^3", "exp(d)", "sqrt(d)", "1/(d^2-4)", "ln(d^2-1)", "1e-6*d"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_has_no_ground_state_is_refused_with_the_potential_to_blame() {
        let judged = |external: &str, interaction: &str, up: usize, down: usize| {
            let h = hamiltonian_with(
                ron::from_str(external).unwrap(),
                ron::from_str(interaction).unwrap(),
            );
            let sector = Sector::new(up, down);
            ground_state(&h, &Geometry::Line, sector).and_then(|()| trainable(&h, sector))
        };
        for (external, interaction, up, down, field, what) in [
            ("Harmonic()", "InverseSquare(strength: 2)", 1, 1, "interaction", "opposite spins"),
            ("Harmonic()", "InverseSquare(strength: -1)", 2, 0, "interaction", "no lower bound"),
            ("Harmonic()", "InverseSquare(strength: -0.2)", 2, 0, "interaction", "|d|^0.7236"),
            ("Harmonic()", "Harmonic(stiffness: -1)", 2, 0, "interaction", "omega² + N k = -1"),
            ("Formula(\"-x^2\")", "None", 1, 0, "external", "keeps falling"),
            ("Formula(\"-1/abs(x)\")", "None", 1, 0, "external", "pole at x = 0"),
            ("Free", "None", 1, 0, "external", "must hold the particles"),
        ] {
            let violation = judged(external, interaction, up, down).unwrap_err();
            assert_eq!(violation.field, field, "{violation}");
            assert!(violation.to_string().contains(what), "{violation}");
        }
        assert!(judged("Harmonic()", "InverseSquare(strength: 2)", 2, 0).is_ok());
    }

    #[test]
    fn interactions_are_even_on_all_scales() {
        let check = |text: &str| {
            hamiltonian(&hamiltonian_with(
                External::Free,
                Interaction::Formula(text.parse().unwrap()),
            ))
        };
        assert!(check("exp(-1000*(abs(d)-17.3)^2)").is_ok());
        for odd in ["exp(-1e6*(d-17.3)^2)", "exp(-1e6*(d+0.0123)^2)", "sin(d)^3*exp(-d^2)"] {
            assert!(check(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn specs_made_in_code_are_checked_with_the_paths_of_an_inline_hamiltonian() {
        let mut spec = RunSpec {
            title: "t".to_owned(),
            hamiltonian: hamiltonian_with(
                External::Harmonic { frequency: 1.0 },
                Interaction::Gaussian { strength: 1.0, width: 1.0 },
            ),
            sector: Sector::new(2, 0),
            geometry: Geometry::Box { half_width: 5.0 },
            wavefunction: WavefunctionSettings::default(),
            optimiser: OptimiserSettings::default(),
            samples_per_iteration: 2,
            iterations: 0,
            final_samples: 2,
            sampling: Sampling::default(),
            refinements: 0,
            stopping: Default::default(),
            faults: Default::default(),
            scramblings: 16,
            seed: 0,
            reference: ReferenceSource::default(),
            states: None,
            temperature: None,
            project: false,
        };
        assert!(spec.validate().is_ok());
        spec.hamiltonian.external = External::Harmonic { frequency: -1.0 };
        assert_eq!(
            spec.validate().unwrap_err().to_string(),
            "field hamiltonian.external.frequency: must be positive, found -1"
        );
    }
}
