//! The ground state in gaps as functions that can be evaluated anywhere.

use super::ExactError;
use super::davidson::DavidsonOptions;
use super::gaps::{Field, GapBasis, GapLevel, Trap};
use super::watch::{Unwatched, Watch};
use crate::math::piecewise::Piecewise;
use crate::math::quadrature::recurrence;
use crate::system::Interaction;

/// `g^power (G - g) p_0(g)` times orthogonal polynomials, `g` a gap between 0 and `G`.
#[derive(Clone, Debug)]
pub(crate) struct GapPolynomials {
    power: f64,
    extent: f64,
    /// Coefficients of `p_0` in orthonormal Jacobi polynomials, and of their recurrence.
    first: Vec<f64>,
    jacobi: Vec<(f64, f64)>,
    start: f64,
    /// Coefficients of the recurrence `g q_k = off_(k+1) q_(k+1) + diagonal_k q_k + off_k q_(k-1)`.
    pub(crate) recurrence: Vec<(f64, f64)>,
}

/// A value and its first three derivatives.
type Derived = [f64; 4];

/// Derivatives of a product.
fn times(a: &Derived, b: &Derived) -> Derived {
    [
        a[0] * b[0],
        a[1] * b[0] + a[0] * b[1],
        a[2] * b[0] + 2.0 * a[1] * b[1] + a[0] * b[2],
        a[3] * b[0] + 3.0 * (a[2] * b[1] + a[1] * b[2]) + a[0] * b[3],
    ]
}

/// Derivatives of `(x p - diagonal p - off before) / next`, `slope` the derivative of `x`.
#[inline(always)]
fn advance(x: f64, slope: f64, c: (f64, f64), next: f64, p: &Derived, before: &Derived) -> Derived {
    let (diagonal, off) = c;
    let inverse = 1.0 / next;
    std::array::from_fn(|d| {
        let raised = if d == 0 { 0.0 } else { d as f64 * slope * p[d - 1] };
        ((x - diagonal) * p[d] + raised - off * before[d]) * inverse
    })
}

impl GapPolynomials {
    /// `first`: coefficients of the first function in those of [`super::gap_basis::GapFunctions::new`].
    pub(crate) fn new(
        power: f64,
        extent: f64,
        first: Vec<f64>,
        recurrences: Vec<(f64, f64)>,
    ) -> Self {
        let b = 2.0 * power;
        let jacobi = (0..=first.len()).map(|k| recurrence(2.0, b, k)).collect();
        let total = 2.0_f64.powf(b + 4.0) / ((b + 1.0) * (b + 2.0) * (b + 3.0));
        // In the variable x = 2 g / G - 1; the weight of the rule is half the extent.
        let start = (2.0 / extent / total).sqrt() * (2.0 / extent).powf(power + 1.0);
        GapPolynomials { power, extent, first, jacobi, start, recurrence: recurrences }
    }

    /// Where the functions end, in bohr.
    pub(crate) fn extent(&self) -> f64 {
        self.extent
    }

    /// Number of functions.
    pub(crate) fn functions(&self) -> usize {
        self.recurrence.len()
    }

    /// The functions and their first three derivatives at a gap inside.
    pub(crate) fn evaluate(&self, g: f64, out: &mut Vec<Derived>) {
        out.resize(self.functions(), [0.0; 4]);
        self.smooth(g, out);
        let rise = self.rise(g);
        out.iter_mut().for_each(|f| *f = times(&rise, f));
    }

    /// The power of a gap that every function has, and its first three derivatives.
    pub(crate) fn rise(&self, g: f64) -> Derived {
        let l = self.power;
        let rise = g.powf(l);
        [
            rise,
            l * rise / g,
            l * (l - 1.0) * rise / (g * g),
            l * (l - 1.0) * (l - 2.0) * rise / (g * g * g),
        ]
    }

    /// The functions without that power, which are polynomials.
    pub(crate) fn smooth(&self, g: f64, out: &mut [Derived]) {
        let slope = 2.0 / self.extent;
        let x = slope * g - 1.0;
        let zero = [0.0; 4];
        let (mut p, mut before) = ([self.start, 0.0, 0.0, 0.0], zero);
        let mut sum = zero;
        for (k, c) in self.first.iter().enumerate() {
            for d in 0..4 {
                sum[d] += c * p[d];
            }
            let next = advance(x, slope, self.jacobi[k], self.jacobi[k + 1].1, &p, &before);
            (before, p) = (p, next);
        }
        let first = times(&[self.extent - g, -1.0, 0.0, 0.0], &sum);
        let (mut p, mut before) = ([1.0, 0.0, 0.0, 0.0], zero);
        for (k, (c, out)) in self.recurrence.iter().zip(out).enumerate() {
            *out = times(&first, &p);
            if let Some(next) = self.recurrence.get(k + 1) {
                let next = advance(g, 1.0, *c, next.1, &p, &before);
                (before, p) = (p, next);
            }
        }
    }

    /// The same in a table.
    pub(crate) fn table(&self) -> Piecewise {
        let functions = self.functions();
        Piecewise::of::<_, NODES>(
            (0.0, self.extent),
            functions,
            CELLS,
            |points, out: &mut [Derived]| {
                for (g, out) in points.iter().zip(out.chunks_exact_mut(functions)) {
                    self.smooth(*g, out);
                }
            },
        )
    }
}

/// Cells of a table and the nodes of each: no polynomial of so low a degree turns by more than a radian in one.
const CELLS: usize = 128;
const NODES: usize = 11;

/// The relative motion of equal spins in a harmonic trap.
#[derive(Clone, Debug)]
pub(crate) struct GapState {
    /// The functions of every gap.
    pub(crate) functions: Vec<GapPolynomials>,
    /// Coefficients of their products, the first gap fastest.
    pub(crate) coefficients: Vec<f64>,
    /// `<sum (x_i - R)²>`, in bohr².
    pub(crate) square: f64,
}

/// Polynomials of the mean field, and how far its functions reach beyond what the energy needs.
const POLYNOMIALS: usize = 56;
const FURTHER: f64 = 1.12;
/// Functions of a gap, for two, three and four particles.
const MOST: [usize; 3] = [40, 32, 16];

/// The ground state of two to four equal spins in a trap of a frequency; none where it has no power at contact.
///
/// # Errors
/// [`ExactError::NotFinite`] where the interaction is not finite.
pub(crate) fn trap_state(
    frequency: f64,
    interaction: &Interaction,
    particles: usize,
) -> Result<Option<GapState>, ExactError> {
    let Some(&m) = particles.checked_sub(2).and_then(|k| MOST.get(k)) else { return Ok(None) };
    let Some(trap) = Trap::new(frequency, interaction.clone(), particles) else { return Ok(None) };
    let field = Field::new(&trap, POLYNOMIALS - 8)?.extended(FURTHER);
    let basis = GapBasis::new(&trap, &field, POLYNOMIALS, m + 2)?;
    let options = DavidsonOptions {
        states: 1,
        guards: 0,
        probe: false,
        residual: 1e-10 * frequency,
        value_error: 1e-14 * frequency,
        passes: 200,
        subspace: 24,
    };
    // From fewer functions to more: most passes are cheap ones.
    let mut found: Option<GapLevel> = None;
    for m in [m / 2, m] {
        let watch: &mut dyn Watch = &mut Unwatched;
        found = Some(basis.solve(m, &options, found.as_ref(), watch)?);
    }
    let Some(level) = found else { return Ok(None) };
    Ok(Some(basis.state(&level)?))
}
