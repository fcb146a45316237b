//! Local energies and their parameter derivatives over batches of exact samples.
//!
//! `E_L = -1/2 (Δ log |psi| + |∇ log |psi||²) + V`; its mean over samples of `|psi|²` is the energy.

use crate::math::vector::lanes::LANES;
use crate::parallel::{self, SAMPLE_CHUNK};
use crate::sampling::{Points, Purpose, Sampling};
use crate::system::System;
use crate::tangent::Tangent;
use crate::team;
use crate::wavefunction::{Evaluator, Wavefunction};
use crate::work::{self, Work};
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
    let part = |range: &Range<usize>| BatchId { first: id.first + range.start, ..id };
    let asked = Asked { derivatives, configurations: samples };
    let chunks = team::share(
        samples,
        SAMPLE_CHUNK,
        |range| Order::Draw(part(&range), range.len()).packed(psi, asked),
        |range| draw_here(psi, system, part(&range), range.len(), asked),
        |answer| Batch::answered(answer, tangent(psi, derivatives)),
    );
    joined(psi, derivatives, chunks)
}

/// Samples that are drawn, and then evaluated, together.
const TOGETHER: usize = LANES;

/// [`draw`] in this process alone, in chunks.
fn draw_here(
    psi: &dyn Wavefunction,
    system: System,
    id: BatchId,
    samples: usize,
    asked: Asked,
) -> Vec<Batch> {
    // One more dimension chooses the samples that go to the tails.
    let dimensions = psi.uniforms() + usize::from(id.tails > 0.0);
    let points = Points::new(id.sampling, id.seed, id.purpose, id.number, dimensions);
    parallel::map_chunks(samples, SAMPLE_CHUNK, |_, range| {
        let mut points = points.starting_at(id.first + range.start);
        let mut chunk = Chunk::new(psi, system, asked);
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
        chunk.batch
    })
}

/// Evaluates given configurations, `samples x particles`, together with the [team] if there is one.
///
/// One with a non-finite or absurd local energy or gradient is left out and counted.
pub fn at(psi: &dyn Wavefunction, system: System, x: &[f64], derivatives: Derivatives) -> Batch {
    let n = psi.sector().particles();
    let part = |range: Range<usize>| &x[range.start * n..range.end * n];
    let asked = Asked { derivatives, configurations: x.len() / n };
    let chunks = team::share(
        x.len() / n,
        SAMPLE_CHUNK,
        |range| Order::At(part(range).to_vec()).packed(psi, asked),
        |range| at_here(psi, system, part(range), asked),
        |answer| Batch::answered(answer, tangent(psi, derivatives)),
    );
    joined(psi, derivatives, chunks)
}

/// [`at`] in this process alone, in chunks.
fn at_here(psi: &dyn Wavefunction, system: System, x: &[f64], asked: Asked) -> Vec<Batch> {
    let n = psi.sector().particles();
    parallel::map_chunks(x.len() / n, SAMPLE_CHUNK, |_, range| {
        let mut chunk = Chunk::new(psi, system, asked);
        for x in x[range.start * n..range.end * n].chunks(TOGETHER * n) {
            chunk.push(x, &[1.0; TOGETHER][..x.len() / n]);
        }
        chunk.batch
    })
}

fn joined(psi: &dyn Wavefunction, derivatives: Derivatives, chunks: Vec<Batch>) -> Batch {
    Batch {
        roughness: if derivatives == Derivatives::None { Vec::new() } else { psi.roughness() },
        parameters: psi.parameters().to_vec(),
        ..concatenated(psi, derivatives, chunks)
    }
}

/// The samples of chunks, one after another.
fn concatenated(psi: &dyn Wavefunction, derivatives: Derivatives, chunks: Vec<Batch>) -> Batch {
    let mut batch = Batch {
        particles: psi.sector().particles(),
        parameter_count: psi.parameters().len(),
        tangent: tangent(psi, derivatives),
        ..Batch::default()
    };
    batch.tangent.reserve(chunks.iter().map(Batch::samples).sum());
    chunks.into_iter().for_each(|chunk| batch.append(chunk));
    batch
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
    batch: Batch,
    kinetic: [f64; TOGETHER],
    /// Of as many samples as are evaluated together.
    factors: Vec<f64>,
    o: Vec<f64>,
    de: Vec<f64>,
    mixed: Vec<f64>,
}

impl<'a> Chunk<'a> {
    fn new(psi: &'a dyn Wavefunction, system: System<'a>, asked: Asked) -> Self {
        let Asked { derivatives, configurations } = asked;
        let (n, p) = (psi.sector().particles(), psi.parameters().len());
        let rows = |wanted: bool, size| if wanted { vec![0.0; size] } else { Vec::new() };
        let mut tangent = tangent(psi, derivatives);
        tangent.reserve(SAMPLE_CHUNK);
        let dense = matches!(derivatives, Derivatives::LocalEnergy | Derivatives::Mixed);
        Chunk {
            system,
            derivatives,
            evaluator: psi.evaluator_for(configurations),
            factors: vec![0.0; TOGETHER * tangent.factors()],
            batch: Batch { particles: n, parameter_count: p, tangent, ..Batch::default() },
            kinetic: [0.0; TOGETHER],
            o: rows(dense, p),
            de: rows(derivatives == Derivatives::LocalEnergy, p),
            mixed: rows(derivatives == Derivatives::Mixed, n * p),
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
            let e = &mut self.evaluator;
            let (log_psi, kinetic) = match self.derivatives {
                Derivatives::None | Derivatives::LogPsi => (None, self.kinetic[s]),
                Derivatives::LocalEnergy => {
                    let (log, kinetic) = e.kinetic_parameter_gradient(x, &mut self.o, &mut self.de);
                    (Some(log.log_abs), kinetic)
                }
                Derivatives::Mixed => {
                    (None, e.mixed_parameter_gradient(x, &mut self.o, &mut self.mixed))
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
        let mut derivatives = self.o.iter().chain(&self.de).chain(&self.mixed);
        // Without an early end: there are many, and none is large.
        let bounded = factors.iter().fold(true, |all, f| all & (f.abs() < LARGEST_FACTOR));
        let batch = &mut self.batch;
        // What is not a number is not below it either.
        if energy.abs() < ABSURD && bounded && derivatives.all(|v| v.is_finite()) {
            batch.x.extend_from_slice(x);
            batch.local_energy.push(energy);
            batch.kinetic.push(kinetic);
            batch.log_psi.extend(log_psi);
            batch.weight.push(weight);
            batch.tangent.push(factors);
            batch.log_gradient.extend_from_slice(&self.o);
            batch.energy_gradient.extend_from_slice(&self.de);
            batch.mixed.extend_from_slice(&self.mixed);
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
    let (chunks, work) = work::counted(|| match order {
        Order::Draw(id, samples) => Some(draw_here(psi, system, id, samples, asked)),
        Order::At(x) => x.len().is_multiple_of(n).then(|| at_here(psi, system, &x, asked)),
    });
    Some(concatenated(psi, asked.derivatives, chunks?).answer(&work))
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
