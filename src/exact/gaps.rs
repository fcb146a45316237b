//! Equal spins in a harmonic trap: the centre of mass separates, the gaps between neighbours remain.
//!
//! With `g_i = x_{i+1} - x_i > 0` the relative motion is
//! `- sum_i d²/dg_i² + sum_i d²/(dg_i dg_{i+1}) + omega²/2 sum_i (x_i - R)² + sum_{i<j} w`, with a
//! function that vanishes at every `g_i = 0`: no antisymmetry is left, and the cusp at contact is in the
//! one-dimensional functions. The basis is the direct product of functions of each gap: the lowest one in
//! the mean field of the others times polynomials. What the mean field leaves of the potential is taken
//! on the product of the Gauss quadratures that belong to them.

use super::ExactError;
use super::davidson::{DavidsonOptions, Eigenpairs, lowest, start_vectors};
use super::elements::{LeftEnd, Line, edges_up_to, levels};
use super::gap_basis::GapFunctions;
use super::gap_state::GapState;
use super::watch::Watch;
use crate::math::linalg::{EigenFailure, dot, mul, mul_into};
use crate::system::Interaction;
use crate::system::judgement::{Contact, contact};
use faer::{Accum, Mat, MatMut, MatRef};
use rayon::prelude::*;

/// Spin-polarised fermions in a harmonic trap.
#[derive(Clone, Debug)]
pub(crate) struct Trap {
    pub(crate) frequency: f64,
    pub(crate) interaction: Interaction,
    pub(crate) particles: usize,
    /// The wavefunction vanishes like this power of a gap.
    power: f64,
}

impl Trap {
    /// `None` where the interaction diverges so strongly at contact that the wavefunction vanishes there like no power.
    pub(crate) fn new(frequency: f64, interaction: Interaction, particles: usize) -> Option<Self> {
        let power = match contact(&interaction) {
            Contact::Finite | Contact::Weak(_) => 1.0,
            // w = c/d² close to contact: the larger power of those that solve p (p - 1) = c.
            Contact::InverseSquare(c) if c > -0.25 => 0.5 + (0.25 + c).sqrt(),
            _ => return None,
        };
        (particles >= 2 && frequency > 0.0).then_some(Trap {
            frequency,
            interaction,
            particles,
            power,
        })
    }

    fn gaps(&self) -> usize {
        self.particles - 1
    }

    /// Whether the wavefunction vanishes linearly at contact, as functions of elements do.
    pub(crate) fn is_linear_at_contact(&self) -> bool {
        self.power == 1.0 && self.interaction.value(0.0).is_finite()
    }

    /// Trap and interactions of particles that are not neighbours. With `through = Some(i)` only
    /// the terms that depend on gap `i`.
    fn potential(&self, gaps: &[f64], through: Option<usize>) -> f64 {
        let n = self.particles;
        let mut v = 0.0;
        for a in 0..n {
            let mut distance = 0.0;
            for b in a + 1..n {
                distance += gaps[b - 1];
                if through.is_none_or(|i| a <= i && i < b) {
                    // sum (x_i - R)² = sum of squared distances / N
                    v += 0.5 * self.frequency * self.frequency * distance * distance / n as f64;
                    if b > a + 1 {
                        v += self.interaction.value(distance);
                    }
                }
            }
        }
        v
    }

    fn trap_potential(&self, gaps: &[f64]) -> f64 {
        let n = self.particles;
        let mut v = 0.0;
        for a in 0..n {
            let mut distance = 0.0;
            for g in &gaps[a..] {
                distance += g;
                v += 0.5 * self.frequency * self.frequency * distance * distance / n as f64;
            }
        }
        v
    }

    /// Potential that gap `i` feels on the average over product functions of the others.
    fn mean_field(&self, i: usize, at: &[f64], product: &[(Vec<f64>, Vec<f64>)]) -> Vec<f64> {
        let others: Vec<usize> = (0..self.gaps()).filter(|k| *k != i).collect();
        let count: usize = others.iter().map(|&k| product[k].0.len()).product();
        at.par_iter()
            .map(|&g| {
                let mut gaps = vec![0.0; self.gaps()];
                gaps[i] = g;
                let mut sum = 0.0;
                for index in 0..count {
                    let (mut rest, mut weight) = (index, 1.0);
                    for &k in &others {
                        let (points, weights) = &product[k];
                        gaps[k] = points[rest % points.len()];
                        weight *= weights[rest % points.len()];
                        rest /= points.len();
                    }
                    sum += weight * self.potential(&gaps, Some(i));
                }
                sum
            })
            .collect()
    }
}

/// Quadrature points of each gap in the mean field.
const FIELD_POINTS: usize = 6;
/// Probability beyond the extent: above what rounding leaves in the tail of an eigenvector.
const TAIL: f64 = 1e-15;

/// The mean field, which defines the functions of every gap.
#[derive(Clone)]
pub(crate) struct Field {
    /// Points and weights per gap.
    product: Vec<(Vec<f64>, Vec<f64>)>,
    /// Where the functions end, in bohr.
    pub(crate) extent: f64,
}

/// The functions of all gaps.
pub(crate) struct GapBasis {
    trap: Trap,
    field: Field,
    /// Functions of each gap, and the potential in the mean field at their points.
    gaps: Vec<(GapFunctions, Vec<f64>)>,
    /// Quadrature points of each gap beyond the number of functions.
    extra: usize,
}

impl Field {
    /// A mean field that is consistent with itself, and an extent that loses nothing of it.
    pub(crate) fn new(trap: &Trap, functions: usize) -> Result<Self, EigenFailure> {
        let spacing = 1.0 / trap.frequency.sqrt();
        let start = (vec![spacing], vec![1.0]);
        let mut field = Field { product: vec![start; trap.gaps()], extent: 10.0 * spacing };
        for _ in 0..12 {
            let basis = GapBasis::new(trap, &field, functions, FIELD_POINTS)?;
            let mut tail = 0.0_f64;
            for (i, (f, _)) in basis.gaps.iter().enumerate() {
                let (points, u) = f.adapted(FIELD_POINTS)?;
                let weights = (0..points.len()).map(|p| u[(0, p)].powi(2)).collect();
                field.product[i] = (points, weights);
                let mut beyond = 0.0;
                let end = (0..f.points.len()).rev().find(|&q| {
                    beyond += f.values[(q, 0)].powi(2);
                    beyond > TAIL
                });
                tail = tail.max(end.map_or(0.0, |q| f.points[q]));
            }
            let wanted = if tail > 0.97 * field.extent { 1.3 * field.extent } else { 1.06 * tail };
            if (wanted / field.extent - 1.0).abs() > 0.03 {
                field.extent = wanted;
            }
        }
        Ok(field)
    }

    /// The same field with functions that end further out.
    pub(crate) fn extended(&self, factor: f64) -> Self {
        Field { extent: factor * self.extent, ..self.clone() }
    }
}

/// Numbers of floating-point operations of one product and of bytes.
pub(crate) fn cost(gaps: usize, m: usize, subspace: usize) -> (u64, u64) {
    let q = m + EXTRA_POINTS;
    let (mut flops, dimension) = (0_u64, (m as u64).saturating_pow(gaps as u32));
    for k in 0..gaps as u32 {
        // Axis by axis to the quadrature and back, and two derivatives.
        let rest = (q as u64).saturating_pow(k).saturating_mul((m as u64).pow(gaps as u32 - 1 - k));
        flops = flops.saturating_add(rest.saturating_mul(4 * (m * q) as u64));
        flops = flops.saturating_add(dimension.saturating_mul(4 * m as u64));
    }
    let grid = (q as u64).saturating_pow(gaps as u32);
    let bytes = 8 * (dimension.saturating_mul(2 * subspace as u64 + 8) + grid.saturating_mul(4));
    (flops, bytes)
}

/// Quadrature points per gap beyond the number of functions.
const EXTRA_POINTS: usize = 2;

/// `out (+)= a` applied along axis `k` of the tensor `x` (first axis fastest).
pub(super) fn along(
    x: &[f64],
    sizes: &[usize],
    k: usize,
    a: MatRef<'_, f64>,
    out: &mut [f64],
    accum: Accum,
) {
    let left: usize = sizes[..k].iter().product();
    let (n, p) = (a.ncols(), a.nrows());
    debug_assert_eq!(sizes[k], n);
    let right = x.len() / (left * n);
    /// Columns or rows per task, fixed so that rounding does not depend on threads.
    const TASK: usize = 512;
    if left == 1 {
        out.par_chunks_mut(p * TASK).zip(x.par_chunks(n * TASK)).for_each(|(o, x)| {
            let columns = x.len() / n;
            let x = MatRef::from_column_major_slice(x, n, columns);
            mul_into(MatMut::from_column_major_slice_mut(o, p, columns), a, x, accum);
        });
    } else if right > 1 {
        out.par_chunks_mut(left * p).zip(x.par_chunks(left * n)).for_each(|(o, x)| {
            let x = MatRef::from_column_major_slice(x, left, n);
            mul_into(MatMut::from_column_major_slice_mut(o, left, p), x, a.transpose(), accum);
        });
    } else {
        let x = MatRef::from_column_major_slice(x, left, n);
        let starts: Vec<usize> = (0..left.div_ceil(TASK)).map(|t| t * TASK).collect();
        MatMut::from_column_major_slice_mut(out, left, p)
            .par_row_chunks_mut(TASK)
            .zip(starts)
            .for_each(|(o, start)| {
                let rows = o.nrows();
                mul_into(o, x.subrows(start, rows), a.transpose(), accum);
            });
    }
}

/// One diagonalisation of the relative motion.
pub(crate) struct GapLevel {
    pub(crate) pairs: Eigenpairs,
    functions: Vec<GapFunctions>,
    /// Trap and interaction energy of the lowest state, without the centre of mass.
    pub(crate) external: f64,
    pub(crate) interaction: f64,
}

/// What one diagonalisation multiplies with.
struct Operator {
    m: usize,
    q: usize,
    gaps: usize,
    /// Sums of the levels of the gaps.
    levels: Vec<f64>,
    functions: Vec<GapFunctions>,
    derivatives: Vec<Mat<f64>>,
    /// Functions at the points of the quadrature: `q x m`.
    to_points: Vec<Mat<f64>>,
    points: Vec<Vec<f64>>,
    /// What the mean field leaves, at the points.
    rest: Vec<f64>,
}

impl Operator {
    fn on_points(&self, c: &[f64], watch: &mut dyn Watch) -> Result<Vec<f64>, ExactError> {
        let mut sizes = vec![self.m; self.gaps];
        let mut x = c.to_vec();
        for k in (0..self.gaps).rev() {
            let mut y = vec![0.0; x.len() / self.m * self.q];
            watch.spend(2.0 * (self.m * y.len()) as f64)?;
            along(&x, &sizes, k, self.to_points[k].as_ref(), &mut y, Accum::Replace);
            sizes[k] = self.q;
            x = y;
        }
        Ok(x)
    }

    fn gaps_of_points(
        &self,
        mut x: Vec<f64>,
        watch: &mut dyn Watch,
    ) -> Result<Vec<f64>, ExactError> {
        let mut sizes = vec![self.q; self.gaps];
        for k in 0..self.gaps {
            let mut y = vec![0.0; x.len() / self.q * self.m];
            watch.spend(2.0 * (self.q * y.len()) as f64)?;
            along(&x, &sizes, k, self.to_points[k].transpose(), &mut y, Accum::Replace);
            sizes[k] = self.m;
            x = y;
        }
        Ok(x)
    }

    fn apply(&self, c: &[f64], watch: &mut dyn Watch) -> Result<Vec<f64>, ExactError> {
        let mut x = self.on_points(c, watch)?;
        x.par_iter_mut().zip(&self.rest).for_each(|(x, v)| *x *= v);
        let mut y = self.gaps_of_points(x, watch)?;
        y.par_iter_mut().zip(c).zip(&self.levels).for_each(|((y, c), e)| *y += c * e);
        let sizes = vec![self.m; self.gaps];
        let mut t = vec![0.0; c.len()];
        for k in 1..self.gaps {
            watch.spend(4.0 * (self.m * c.len()) as f64)?;
            along(c, &sizes, k, self.derivatives[k].as_ref(), &mut t, Accum::Replace);
            along(&t, &sizes, k - 1, self.derivatives[k - 1].as_ref(), &mut y, Accum::Add);
        }
        Ok(y)
    }

    /// A function over other one-dimensional functions of the same gaps.
    fn embed(&self, c: &[f64], from: &[GapFunctions]) -> Vec<f64> {
        let mut sizes: Vec<usize> = from.iter().map(|f| f.values.ncols()).collect();
        let mut x = c.to_vec();
        for k in 0..self.gaps {
            let o = mul(self.functions[k].values.transpose(), from[k].values.as_ref());
            let mut y = vec![0.0; x.len() / sizes[k] * self.m];
            along(&x, &sizes, k, o.as_ref(), &mut y, Accum::Replace);
            sizes[k] = self.m;
            x = y;
        }
        x
    }

    /// Calls `f` with the gaps at every point of the quadrature.
    fn tabulate(points: &[Vec<f64>], f: impl Fn(&[f64], &[usize]) -> f64 + Sync) -> Vec<f64> {
        let q = points[0].len();
        let total = q.pow(points.len() as u32);
        let mut out = vec![0.0; total];
        out.par_chunks_mut(q).enumerate().for_each(|(row, out)| {
            let mut index = vec![0; points.len()];
            let mut gaps = vec![0.0; points.len()];
            let mut rest = row;
            for k in 1..points.len() {
                index[k] = rest % q;
                gaps[k] = points[k][index[k]];
                rest /= q;
            }
            for (p, o) in out.iter_mut().enumerate() {
                index[0] = p;
                gaps[0] = points[0][p];
                *o = f(&gaps, &index);
            }
        });
        out
    }
}

impl GapBasis {
    /// Up to `kept` eigenfunctions per gap, of `functions` polynomials each.
    pub(crate) fn new(
        trap: &Trap,
        field: &Field,
        functions: usize,
        kept: usize,
    ) -> Result<Self, EigenFailure> {
        let f = GapFunctions::new(functions, trap.power, field.extent)?;
        let contact: Vec<f64> = f.points.iter().map(|g| trap.interaction.value(*g)).collect();
        let mut gaps: Vec<(GapFunctions, Vec<f64>)> = vec![];
        for i in 0..trap.gaps() {
            let mut v = trap.mean_field(i, &f.points, &field.product);
            v.iter_mut().zip(&contact).for_each(|(v, w)| *v += w);
            let lowest = f.eigenfunctions(&v, 1)?.1;
            gaps.push((lowest.polynomials(kept), v));
        }
        Ok(GapBasis { trap: trap.clone(), field: field.clone(), gaps, extra: EXTRA_POINTS })
    }

    /// Spectral elements for every gap, with edges at the kinks and the core of the interaction: they end where the two
    /// lowest levels in the mean field have decayed, `further` times as far if that is above one.
    pub(crate) fn edges(
        trap: &Trap,
        field: &Field,
        further: f64,
    ) -> Result<Option<Vec<f64>>, EigenFailure> {
        let potential =
            |g: f64| trap.mean_field(0, &[g], &field.product)[0] + trap.interaction.value(g);
        let line = Line {
            potential: &potential,
            stiffness: 1.0,
            special: trap.interaction.special_points(),
            ends: (0.0, f64::INFINITY),
            left: LeftEnd::Vanishes,
        };
        let start = (0.0, 6.0 / trap.frequency.sqrt());
        let Some(found) = levels(&line, start, 2, 1e-4)? else { return Ok(None) };
        let mut edges = edges_up_to(&line, found.extent, found.energies[1]);
        if further > 1.0 {
            edges.push(further * found.extent.1);
        }
        Ok(Some(edges))
    }

    /// All functions of the elements between `edges`, in every gap. The wavefunction has to vanish linearly at contact.
    pub(crate) fn in_elements(
        trap: &Trap,
        field: &Field,
        edges: &[f64],
        degree: usize,
    ) -> Result<Self, EigenFailure> {
        let mut gaps = vec![];
        for i in 0..trap.gaps() {
            let f = GapFunctions::in_elements(edges, degree);
            let mut v = trap.mean_field(i, &f.points, &field.product);
            v.iter_mut().zip(&f.points).for_each(|(v, g)| *v += trap.interaction.value(*g));
            if v.iter().any(|v| !v.is_finite()) {
                return Err(EigenFailure { size: v.len() });
            }
            gaps.push((f, v));
        }
        Ok(GapBasis { trap: trap.clone(), field: field.clone(), gaps, extra: 0 })
    }

    /// Largest number of functions per gap.
    pub(crate) fn largest(&self) -> usize {
        self.gaps[0].0.values.ncols() - self.extra
    }

    fn operator(&self, m: usize) -> Result<Operator, EigenFailure> {
        let gaps = self.gaps.len();
        let q = m + self.extra;
        let (mut derivatives, mut to_points, mut points, mut fields, mut levels, mut functions) =
            (vec![], vec![], vec![], vec![], vec![], vec![]);
        for (i, (f, v)) in self.gaps.iter().enumerate() {
            let (x, u) = f.adapted(q)?;
            let (e, f, c) = f.first(m).eigenfunctions(v, m)?;
            derivatives.push(f.derivative(m));
            to_points.push(mul(u.subrows(0, m).transpose(), c.as_ref()));
            fields.push(self.trap.mean_field(i, &x, &self.field.product));
            points.push(x);
            levels.push(e);
            functions.push(f);
        }
        let rest = Operator::tabulate(&points, |g, index| {
            let mean: f64 = fields.iter().zip(index).map(|(f, &p)| f[p]).sum();
            self.trap.potential(g, None) - mean
        });
        let levels = Operator::tabulate(&levels, |e, _| e.iter().sum());
        Ok(Operator { m, q, gaps, levels, functions, derivatives, to_points, points, rest })
    }

    /// Lowest states of the relative motion in `m` functions per gap.
    pub(crate) fn solve(
        &self,
        m: usize,
        options: &DavidsonOptions,
        guess: Option<&GapLevel>,
        watch: &mut dyn Watch,
    ) -> Result<GapLevel, ExactError> {
        // The ground state of particles in a given order has no node and is the only one of its kind.
        let options = &DavidsonOptions {
            guards: if options.states == 1 { 0 } else { options.guards },
            ..*options
        };
        watch.look()?;
        let h = self.operator(m)?;
        let mut first = vec![0.0; h.levels.len()];
        first[0] = 1.0;
        let shift = h.apply(&first, watch)?[0] - h.levels[0];
        let start = match guess {
            Some(g) => g.pairs.start(2).map(|v| h.embed(v, &g.functions)).collect(),
            None => {
                // Not only the nodeless product: other symmetries hold excited states.
                let mut list = start_vectors(&h.levels, options.states);
                if options.states == 1 {
                    list.truncate(1);
                }
                list
            }
        };
        let pairs = lowest(
            |c, watch| h.apply(c, watch),
            |theta, r| {
                r.par_iter_mut().zip(&h.levels).for_each(|(x, e)| {
                    let gap = e + shift - theta;
                    *x /= -if gap.abs() < 0.05 { 0.05_f64.copysign(gap) } else { gap };
                });
            },
            start,
            options,
            watch,
        )?;
        let (external, interaction) = self.components(&h, &pairs.vectors[0], watch)?;
        Ok(GapLevel { pairs, functions: h.functions, external, interaction })
    }

    /// The lowest of the states, in the functions of every gap that are polynomials times the first.
    pub(crate) fn state(&self, level: &GapLevel) -> Result<GapState, EigenFailure> {
        let mut coefficients = level.pairs.vectors[0].clone();
        let mut functions = Vec::new();
        let sizes: Vec<usize> = level.functions.iter().map(|f| f.values.ncols()).collect();
        for (k, (f, _)) in self.gaps.iter().enumerate() {
            let f = f.first(sizes[k]);
            let overlap = mul(f.values.transpose(), level.functions[k].values.as_ref());
            let mut rotated = vec![0.0; coefficients.len()];
            along(&coefficients, &sizes, k, overlap.as_ref(), &mut rotated, Accum::Replace);
            coefficients = rotated;
            functions.push(f.as_polynomials(self.trap.power, self.field.extent)?);
        }
        let square = 2.0 * level.external / self.trap.frequency.powi(2);
        Ok(GapState { functions, coefficients, square })
    }

    fn components(
        &self,
        h: &Operator,
        c: &[f64],
        watch: &mut dyn Watch,
    ) -> Result<(f64, f64), ExactError> {
        let density: Vec<f64> = h.on_points(c, watch)?.into_iter().map(|x| x * x).collect();
        let trap = Operator::tabulate(&h.points, |g, _| self.trap.trap_potential(g));
        let both = Operator::tabulate(&h.points, |g, _| self.trap.potential(g, None));
        let external = dot(&density, &trap);
        let mut interaction = dot(&density, &both) - external;
        let sizes = vec![h.m; h.gaps];
        let mut t = vec![0.0; c.len()];
        for (k, f) in h.functions.iter().enumerate() {
            let w: Vec<f64> = f.points.iter().map(|g| self.trap.interaction.value(*g)).collect();
            along(c, &sizes, k, f.matrix(&w, h.m).as_ref(), &mut t, Accum::Replace);
            interaction += dot(&t, c);
        }
        Ok((external, interaction))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn energy(trap: &Trap, m: usize) -> f64 {
        let field = Field::new(trap, 48).unwrap();
        let basis = GapBasis::new(trap, &field, 56, m + EXTRA_POINTS).unwrap();
        let options = DavidsonOptions {
            states: 1,
            guards: 0,
            probe: false,
            residual: 1e-7,
            value_error: 1e-10,
            passes: 100,
            subspace: 20,
        };
        let level = basis.solve(m, &options, None, &mut crate::exact::watch::Unwatched).unwrap();
        level.pairs.values[0] + 0.5 * trap.frequency
    }

    #[test]
    fn free_fermions_and_calogero_are_exact() {
        let free = Trap::new(1.0, Interaction::None, 4).unwrap();
        assert!((energy(&free, 10) - 8.0).abs() < 2e-9);
        let w = Interaction::InverseSquare { strength: 0.75 };
        let calogero = Trap::new(1.0, w, 3).unwrap();
        assert!((energy(&calogero, 14) - 6.0).abs() < 2e-9);
    }

    /// Attraction of less than `1/(4 d²)`: `E = 1 + lambda`.
    #[test]
    fn an_attractive_inverse_square_has_its_power() {
        let trap = Trap::new(1.0, Interaction::InverseSquare { strength: -0.2 }, 2).unwrap();
        assert!((energy(&trap, 14) - 1.5 - 0.05f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn a_divergence_that_is_too_strong_is_declined() {
        let cubic: Interaction = ron::from_str("Formula(\"1/abs(d)^3\")").unwrap();
        assert!(Trap::new(1.0, cubic, 3).is_none());
        assert!(Trap::new(1.0, Interaction::InverseSquare { strength: -0.3 }, 3).is_none());
    }
}
