//! Physical and practical bounds of every number in a spec.
//!
//! One function for each type, in the order of its fields. The structs are taken apart without `..`, so
//! that a new field does not compile before its bound is thought of.

mod bounds;
mod hamiltonian;

pub use hamiltonian::{contact_in, ground_state, hamiltonian, hamiltonian_in, trainable};

use super::error::{Known, Problem};
use super::{
    ReferenceSource, ResolvedSpec, RunSpec, StateWeights, StatesSettings, TemperatureSettings,
    Temperatures, size,
};
use crate::contact::base::Base;
use crate::contact::{self, Gas};
use crate::math::spline::circular::FEWEST_CELLS;
use crate::objective::ObjectiveSettings;
use crate::objective::mixture::MOST_STATES;
use crate::optimise::{Bound, OptimiserSettings};
use crate::system::sector::MOST_PARTICLES;
use crate::system::{Geometry, Hamiltonian, Sector};
use crate::train::Faults;
use crate::wavefunction::WavefunctionSettings;
use crate::wavefunction::sector_base::{self, SectorBaseSettings};
use crate::wavefunction::waveflow::{Bijection, WaveflowSettings};
use crate::wavefunction::weyl::{BaseSettings, WeylSettings, knows_two};
use bounds::{
    between, count, finite, fraction, length, not_blank, not_negative, positive, rule, violated,
    within,
};

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
        objective,
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
    check_objective(objective, optimiser, wavefunction)?;
    if wavefunction.has_kinks()
        && !matches!(
            optimiser,
            OptimiserSettings::EnergyNaturalGradient(_) | OptimiserSettings::Automatic
        )
    {
        return rule(
            "optimiser",
            "a wavefunction with kinks in its slope (bijection: RationalQuadratic) needs EnergyNaturalGradient, which alone knows what \
             they add to the gradient of the energy; leave the field out",
        );
    }
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
    if !spec.objective.is_default() {
        let needs = format!("with `{field}` energies are minimised: leave it out");
        return violated("objective", needs, spec.objective.objective().name().to_owned());
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
            return rule(&format!("wavefunction.layers[{i}]"), &knows_two(layers[i]));
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
        bijection,
        layers,
        degree,
        knots,
        prior_knots,
        hidden,
        slope_floor,
        orthogonalisation: _,
    } = settings;
    within("wavefunction.layers", *layers, 0, 32)?;
    if *bijection == Bijection::RationalQuadratic && *layers > 1 {
        let bound = "must be at most 1 with RationalQuadratic: kinks behind a layer that is trained move with the parameters, and \
                     derivatives by these have jumps";
        return violated("wavefunction.layers", bound, layers);
    }
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

/// Whether the optimiser can minimise the objective.
fn check_objective(
    objective: &ObjectiveSettings,
    optimiser: &OptimiserSettings,
    wavefunction: &WavefunctionSettings,
) -> Checked {
    if !objective.objective().needs_variance() {
        return Ok(());
    }
    let mut optimiser = optimiser.clone();
    optimiser.complete(wavefunction);
    let settings = optimiser.settings();
    if settings.variance() > 0.0 {
        return Ok(());
    }
    let needs = "an optimiser that knows of the variance is needed: RayleighGaussNewton or Lbfgs, with `variance` above 0";
    violated(
        "objective",
        needs,
        format!("{} with {}", objective.objective().name(), settings.name()),
    )
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

#[cfg(test)]
mod tests;
