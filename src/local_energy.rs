//! Local energies and their parameter derivatives over batches of exact samples.
//!
//! `E_L = -1/2 (Δ log |psi| + |∇ log |psi||²) + V`; its mean over samples of `|psi|²` is the energy.

mod matrices;

pub(crate) use matrices::Memory;

use crate::math::vector::lanes::LANES;
use crate::parallel::{self, SAMPLE_CHUNK};
use crate::sampling::{Points, Purpose, Sampling};
use crate::system::System;
use crate::tangent::Tangent;
use crate::team;
use crate::wavefunction::{Evaluator, Wavefunction};
use crate::work::{self, Work};
use matrices::Matrices;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What is to be found of each configuration, and of how many in all, whoever looks at which.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Asked {
    derivatives: Derivatives,
    configurations: usize,
}

/// Which derivatives with respect to the parameters a batch carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Derivatives {
    /// None.
    None,
    /// `O_k = d log |psi| / d p_k`, in factored form.
    LogPsi,
    /// `log |psi|`, `O_k` and `d E_L / d p_k`.
    LocalEnergy,
    /// `O_k` and `d O_k / d x_i`.
    Mixed,
}

/// Samples with their local energies. Matrices are row-major, one row a sample.
///
/// What it consists of besides samples does not go with it from one process to another: who asked for them knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Batch {
    /// Number of coordinates of a configuration.
    pub particles: usize,
    /// Number of parameters.
    pub parameter_count: usize,
    /// Configurations, `samples x particles`, in bohr.
    pub x: Vec<f64>,
    /// Local energies in Hartree.
    pub local_energy: Vec<f64>,
    /// Their kinetic parts.
    pub kinetic: Vec<f64>,
    /// Weights `|psi|² / (density the sample was drawn from)`; their expectation is 1.
    pub weight: Vec<f64>,
    /// `log |psi|` with [`Derivatives::LocalEnergy`].
    pub log_psi: Vec<f64>,
    /// `O_k` with [`Derivatives::LogPsi`].
    #[serde(skip)]
    pub tangent: Tangent,
    /// `O_k`, `samples x parameters`, with the other derivatives.
    pub log_gradient: Vec<f64>,
    /// `d E_L / d p_k`, `samples x parameters`.
    pub energy_gradient: Vec<f64>,
    /// `d O_k / d x_i`, `samples x particles x parameters`.
    pub mixed: Vec<f64>,
    /// With [`Derivatives::Mixed`] of a wavefunction whose slope has kinks: the gradient of that part, `samples x particles`. See
    /// [`Evaluator::kinks`].
    pub kinks: Vec<f64>,
    /// Samples left out because something was not finite or absurd.
    pub rejected: usize,
    /// The first of them in each chunk.
    pub faults: Vec<Fault>,
    /// The wavefunction's measure of rough changes: see [`Wavefunction::roughness`].
    #[serde(skip)]
    pub roughness: Vec<Vec<(usize, f64)>>,
    /// The parameters the batch was drawn at.
    #[serde(skip)]
    pub parameters: Vec<f64>,
}

impl Batch {
    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.local_energy.len()
    }

    /// Takes the samples of another batch of the same kind behind its own.
    pub(crate) fn append(&mut self, more: Batch) {
        self.x.extend(more.x);
        self.local_energy.extend(more.local_energy);
        self.kinetic.extend(more.kinetic);
        self.log_psi.extend(more.log_psi);
        self.weight.extend(more.weight);
        self.tangent.append(more.tangent);
        self.log_gradient.extend(more.log_gradient);
        self.energy_gradient.extend(more.energy_gradient);
        self.mixed.extend(more.mixed);
        self.kinks.extend(more.kinks);
        self.rejected += more.rejected;
        self.faults.extend(more.faults);
    }

    /// Its memory, for another one.
    pub(crate) fn into_memory(self) -> Memory {
        let Batch { log_gradient, energy_gradient, mixed, .. } = self;
        Memory(Matrices { log_gradient, energy_gradient, mixed })
    }
}

/// A sample without a sensible local energy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// The configuration, in bohr.
    pub x: Vec<f64>,
    /// The local energy, in Hartree: not finite, or absurd, or a derivative with respect to a parameter is not finite.
    pub local_energy: f64,
}

/// Local energies beyond are absurd, in Hartree: of a sum of terms that large, the digits that matter are lost.
pub const ABSURD: f64 = 1e9;
/// Faults of a chunk that are kept.
pub(crate) const FAULTS: usize = 4;

/// Names one batch: the same name gives the same samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchId {
    /// Kind of points the samples are made from.
    pub sampling: Sampling,
    /// Seed of the run.
    pub seed: u64,
    /// What the batch is for.
    pub purpose: Purpose,
    /// Number of the batch.
    pub number: u64,
    /// Number of the first point: a long batch may be drawn in parts.
    pub first: usize,
    /// Share of samples drawn with more weight on the tails, in [0, 1): see [`Batch::weight`].
    pub tails: f64,
}

/// Moves uniforms towards the ends of (0, 1) by the arcsine law: samples made from them visit the tails of
/// every conditional distribution more often.
pub(crate) fn spread_to_tails(uniforms: &mut [f64]) {
    for u in uniforms {
        let s = (std::f64::consts::FRAC_PI_2 * *u).sin();
        *u = (s * s).clamp(1e-14, 1.0 - 1e-14);
    }
}

/// Weight of a sample made from `uniforms`, a share `tails` of which went through [`spread_to_tails`].
pub(crate) fn importance(uniforms: &[f64], tails: f64) -> f64 {
    if tails <= 0.0 {
        return 1.0;
    }
    let arcsine: f64 =
        uniforms.iter().map(|u| 1.0 / (std::f64::consts::PI * (u * (1.0 - u)).sqrt())).product();
    1.0 / (1.0 - tails + tails * arcsine)
}

/// Draws `samples` exact samples and evaluates them, together with the [team] if there is one.
///
/// A sample with a non-finite or absurd local energy or gradient is left out and counted.
pub fn draw(
    psi: &dyn Wavefunction,
    system: System,
    id: BatchId,
    samples: usize,
    derivatives: Derivatives,
) -> Batch {
    draw_again(psi, system, id, samples, derivatives, Memory::default())
}

/// [`draw`] into the memory of a batch before, whatever that was.
pub(crate) fn draw_again(
    psi: &dyn Wavefunction,
    system: System,
    id: BatchId,
    samples: usize,
    derivatives: Derivatives,
    memory: Memory,
) -> Batch {
    let part = |range: &Range<usize>| BatchId { first: id.first + range.start, ..id };
    let asked = Asked { derivatives, configurations: samples };
    let parts = team::share(
        samples,
        SAMPLE_CHUNK,
        |range| Order::Draw(part(&range), range.len()).packed(psi, asked),
        |range| vec![draw_here(psi, system, part(&range), range.len(), asked, memory)],
        |answer| Batch::answered(answer, tangent(psi, derivatives)),
    );
    joined(psi, derivatives, parts)
}

/// Samples that are drawn, and then evaluated, together.
const TOGETHER: usize = LANES;

/// [`draw`] in this process alone.
fn draw_here(
    psi: &dyn Wavefunction,
    system: System,
    id: BatchId,
    samples: usize,
    asked: Asked,
    memory: Memory,
) -> Batch {
    // One more dimension chooses the samples that go to the tails.
    let dimensions = psi.uniforms() + usize::from(id.tails > 0.0);
    let points = Points::new(id.sampling, id.seed, id.purpose, id.number, dimensions);
    in_chunks(psi, system, samples, asked, memory, |range, chunk| {
        let mut points = points.starting_at(id.first + range.start);
        let (n, d) = (psi.sector().particles(), psi.uniforms());
        let mut point = vec![0.0; points.dimensions()];
        let mut uniforms = vec![0.0; TOGETHER * d];
        let mut x = vec![0.0; TOGETHER * n];
        let mut weights = Vec::with_capacity(TOGETHER);
        let mut left = range.len();
        while left > 0 {
            let count = left.min(TOGETHER);
            let (uniforms, x) = (&mut uniforms[..count * d], &mut x[..count * n]);
            for uniforms in uniforms.chunks_exact_mut(d) {
                points.next(&mut point);
                uniforms.copy_from_slice(&point[..d]);
                if point.get(d).is_some_and(|&u| u < id.tails) {
                    spread_to_tails(uniforms);
                }
            }
            chunk.evaluator.sample(uniforms, x);
            weights.clear();
            weights.extend(uniforms.chunks_exact(d).map(|u| importance(u, id.tails)));
            chunk.push(x, &weights);
            left -= count;
        }
    })
}

/// Evaluates given configurations, `samples x particles`, together with the [team] if there is one.
///
/// One with a non-finite or absurd local energy or gradient is left out and counted.
pub fn at(psi: &dyn Wavefunction, system: System, x: &[f64], derivatives: Derivatives) -> Batch {
    let n = psi.sector().particles();
    let part = |range: Range<usize>| &x[range.start * n..range.end * n];
    let asked = Asked { derivatives, configurations: x.len() / n };
    let parts = team::share(
        x.len() / n,
        SAMPLE_CHUNK,
        |range| Order::At(part(range).to_vec()).packed(psi, asked),
        |range| vec![at_here(psi, system, part(range), asked)],
        |answer| Batch::answered(answer, tangent(psi, derivatives)),
    );
    joined(psi, derivatives, parts)
}

/// [`at`] in this process alone.
fn at_here(psi: &dyn Wavefunction, system: System, x: &[f64], asked: Asked) -> Batch {
    let n = psi.sector().particles();
    in_chunks(psi, system, x.len() / n, asked, Memory::default(), |range, chunk| {
        for x in x[range.start * n..range.end * n].chunks(TOGETHER * n) {
            chunk.push(x, &[1.0; TOGETHER][..x.len() / n]);
        }
    })
}

/// Samples that a task pushes to the chunk of a range.
fn in_chunks(
    psi: &dyn Wavefunction,
    system: System,
    samples: usize,
    asked: Asked,
    Memory(mut matrices): Memory,
    task: impl Fn(Range<usize>, &mut Chunk) + Sync,
) -> Batch {
    let widths = Matrices::widths(psi, asked.derivatives);
    matrices.resize(samples, &widths);
    let places = matrices.places(samples, &widths);
    let chunks = parallel::map_chunks_into(samples, SAMPLE_CHUNK, places, |_, range, place| {
        let mut chunk = Chunk::new(psi, system, asked, place);
        task(range, &mut chunk);
        chunk.batch
    });
    let kept: Vec<usize> = chunks.iter().map(Batch::samples).collect();
    matrices.close_up(&kept, &widths);
    let Matrices { log_gradient, energy_gradient, mixed } = matrices;
    Batch { log_gradient, energy_gradient, mixed, ..concatenated(psi, asked.derivatives, chunks) }
}

fn joined(psi: &dyn Wavefunction, derivatives: Derivatives, parts: Vec<Batch>) -> Batch {
    Batch {
        roughness: if derivatives == Derivatives::None { Vec::new() } else { psi.roughness() },
        parameters: psi.parameters().to_vec(),
        ..concatenated(psi, derivatives, parts)
    }
}

/// The samples of parts, one after another.
fn concatenated(psi: &dyn Wavefunction, derivatives: Derivatives, parts: Vec<Batch>) -> Batch {
    let samples: usize = parts.iter().map(Batch::samples).sum();
    let mut parts = parts.into_iter();
    // What the first one has stays where it is.
    let mut batch = parts.next().unwrap_or_else(|| empty(psi, derivatives));
    batch.tangent.reserve(samples - batch.samples());
    parts.for_each(|part| batch.append(part));
    batch
}

/// No samples yet.
fn empty(psi: &dyn Wavefunction, derivatives: Derivatives) -> Batch {
    Batch {
        particles: psi.sector().particles(),
        parameter_count: psi.parameters().len(),
        tangent: tangent(psi, derivatives),
        ..Batch::default()
    }
}

/// Without samples, and without parameters where it is not asked for.
fn tangent(psi: &dyn Wavefunction, derivatives: Derivatives) -> Tangent {
    match derivatives {
        Derivatives::LogPsi => Tangent::new(psi.tangent_layout()),
        _ => Tangent::default(),
    }
}

/// Factors beyond are as bad as infinite ones: products of two would be.
const LARGEST_FACTOR: f64 = 1e150;

/// A part of a batch in the making, with the scratch memory of one task.
struct Chunk<'a> {
    system: System<'a>,
    derivatives: Derivatives,
    evaluator: Box<dyn Evaluator + 'a>,
    /// Without matrices.
    batch: Batch,
    /// Of the samples of the chunk.
    matrices: Matrices<&'a mut [f64]>,
    widths: Matrices<usize>,
    kinetic: [f64; TOGETHER],
    /// Of as many samples as are evaluated together.
    factors: Vec<f64>,
}

impl<'a> Chunk<'a> {
    fn new(
        psi: &'a dyn Wavefunction,
        system: System<'a>,
        asked: Asked,
        matrices: Matrices<&'a mut [f64]>,
    ) -> Self {
        let Asked { derivatives, configurations } = asked;
        let mut batch = empty(psi, derivatives);
        batch.tangent.reserve(SAMPLE_CHUNK);
        Chunk {
            system,
            derivatives,
            evaluator: psi.evaluator_for(configurations),
            factors: vec![0.0; TOGETHER * batch.tangent.factors()],
            batch,
            matrices,
            widths: Matrices::widths(psi, derivatives),
            kinetic: [0.0; TOGETHER],
        }
    }

    /// Takes as many samples as there are weights.
    fn push(&mut self, x: &[f64], weights: &[f64]) {
        let (count, n) = (weights.len(), self.batch.particles);
        let size = self.factors.len() / TOGETHER;
        let kinetic = &mut self.kinetic[..count];
        match self.derivatives {
            Derivatives::None => self.evaluator.kinetic_energies(x, kinetic),
            Derivatives::LogPsi => {
                self.evaluator.tangents(x, &mut self.factors[..count * size], kinetic);
            }
            Derivatives::LocalEnergy | Derivatives::Mixed => {}
        }
        for (s, (x, &weight)) in x.chunks_exact(n).zip(weights).enumerate() {
            // A sample that is left out makes room for the next.
            let rows = self.matrices.sample(self.batch.samples(), &self.widths);
            let e = &mut self.evaluator;
            let (log_psi, kinetic) = match self.derivatives {
                Derivatives::None | Derivatives::LogPsi => (None, self.kinetic[s]),
                Derivatives::LocalEnergy => {
                    let Matrices { log_gradient, energy_gradient, .. } = rows;
                    let (log, kinetic) =
                        e.kinetic_parameter_gradient(x, log_gradient, energy_gradient);
                    (Some(log.log_abs), kinetic)
                }
                Derivatives::Mixed => {
                    let Matrices { log_gradient, mixed, .. } = rows;
                    (None, e.mixed_parameter_gradient(x, log_gradient, mixed))
                }
            };
            self.keep(x, weight, log_psi, kinetic, s * size..(s + 1) * size);
        }
    }

    /// Takes a sample whose derivatives are there; its factors are at the given place.
    fn keep(
        &mut self,
        x: &[f64],
        weight: f64,
        log_psi: Option<f64>,
        kinetic: f64,
        factors: Range<usize>,
    ) {
        work::local_energy();
        let factors = &self.factors[factors];
        let energy = kinetic + self.system.hamiltonian.potential(self.system.geometry, x);
        // Without an early end: there are many, and none is large.
        let bounded = factors.iter().fold(true, |all, f| all & (f.abs() < LARGEST_FACTOR));
        let batch = &mut self.batch;
        let finite = self.matrices.sample(batch.samples(), &self.widths).are_finite();
        // What is not a number is not below it either.
        if energy.abs() < ABSURD && bounded && finite {
            batch.x.extend_from_slice(x);
            batch.local_energy.push(energy);
            batch.kinetic.push(kinetic);
            batch.log_psi.extend(log_psi);
            batch.weight.push(weight);
            batch.tangent.push(factors);
            let known = batch.kinks.len();
            if self.derivatives == Derivatives::Mixed {
                batch.kinks.resize(known + batch.particles, 0.0);
                if !self.evaluator.kinks(&mut batch.kinks[known..]) {
                    batch.kinks.truncate(known);
                }
            }
        } else {
            batch.rejected += 1;
            if batch.faults.len() < FAULTS {
                batch.faults.push(Fault { x: x.to_vec(), local_energy: energy });
            }
        }
    }
}

/// What another process of a [team] shall do.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Order {
    /// [`draw_here`] that many samples.
    Draw(BatchId, usize),
    /// [`at_here`].
    At(Vec<f64>),
}

/// An order, with the parameters to carry it out at and what is asked.
type Task = (Vec<f64>, Asked, Order);

impl Order {
    fn packed(self, psi: &dyn Wavefunction, asked: Asked) -> Vec<u8> {
        let task: Task = (psi.parameters().to_vec(), asked, self);
        team::packed(&task)
    }
}

/// Carries out the order of the process that leads the [team] and returns the answer; none if it is no order for this
/// wavefunction.
pub fn serve(psi: &mut dyn Wavefunction, system: System, order: &[u8]) -> Option<Vec<u8>> {
    let (parameters, asked, order): Task = team::unpacked(order)?;
    psi.set_parameters(&parameters).ok()?;
    let n = psi.sector().particles();
    let (batch, work) = work::counted(|| match order {
        Order::Draw(id, samples) => {
            Some(draw_here(psi, system, id, samples, asked, Memory::default()))
        }
        Order::At(x) => x.len().is_multiple_of(n).then(|| at_here(psi, system, &x, asked)),
    });
    Some(batch?.answer(&work))
}

impl Batch {
    /// The samples and the work they were, for the process that asked for them.
    fn answer(&self, work: &Work) -> Vec<u8> {
        team::packed(&(work, self.tangent.as_slice(), self))
    }

    /// The samples of an [`Self::answer`]; its work goes to the counts of this thread.
    ///
    /// `tangent` has no samples yet.
    fn answered(bytes: &[u8], tangent: Tangent) -> Option<Self> {
        let (counted, factors, batch): (Work, Vec<f64>, Batch) = team::unpacked(bytes)?;
        let batch = Batch { tangent: tangent.with_factors(factors)?, ..batch };
        work::add(counted);
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector};
    use crate::wavefunction::WavefunctionSettings;
    use crate::wavefunction::weyl::WeylSettings;

    /// A potential that is absurd where some samples are, and memory full of what was there before.
    #[test]
    fn rows_stay_with_their_samples_where_others_are_left_out() {
        let hamiltonian = |external| Hamiltonian {
            title: String::new(),
            external,
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        };
        let geometry = Geometry::Line;
        let harmonic = hamiltonian(External::Harmonic { frequency: 1.0 });
        let broken = hamiltonian(External::Formula("x^400".parse().unwrap()));
        let trap = System { hamiltonian: &harmonic, geometry: &geometry };
        let system = System { hamiltonian: &broken, geometry: &geometry };
        let settings = WavefunctionSettings::Weyl(WeylSettings::default());
        let psi = settings.build(Sector::new(1, 1), trap, 3).unwrap();
        let id = BatchId {
            sampling: Sampling::Random,
            seed: 4,
            purpose: Purpose::Training,
            number: 0,
            first: 0,
            tails: 0.2,
        };
        for derivatives in
            [Derivatives::None, Derivatives::LogPsi, Derivatives::LocalEnergy, Derivatives::Mixed]
        {
            let memory = Memory(Matrices {
                log_gradient: vec![f64::NAN; 7],
                energy_gradient: vec![f64::NAN; 1_000_000],
                mixed: vec![3.0; 20_000],
            });
            let samples = 300;
            let batch = draw_again(&*psi, system, id, samples, derivatives, memory);
            assert_eq!(batch.samples() + batch.rejected, samples);
            assert!(batch.rejected > 50 && batch.samples() > 50, "{}", batch.rejected);
            assert!(batch.faults.iter().all(|f| f.x.iter().any(|x| x.abs() > 1.0)));
            let again = at(&*psi, system, &batch.x, derivatives);
            assert_eq!(again.rejected, 0);
            assert_eq!(batch.local_energy, again.local_energy);
            assert_eq!(batch.log_psi, again.log_psi);
            assert_eq!(batch.log_gradient, again.log_gradient);
            assert_eq!(batch.energy_gradient, again.energy_gradient);
            assert_eq!(batch.mixed, again.mixed);
            assert_eq!(batch.tangent.as_slice(), again.tangent.as_slice());
        }
    }
}
