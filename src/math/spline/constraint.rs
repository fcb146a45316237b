//! Boundary conditions on splines, by eliminating the outermost coefficients.

use super::{BSplineBasis, LocalBasis, SplineError};
use nalgebra::DMatrix;

/// Prescribed derivatives at the two ends: pairs of (order of the derivative, value).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BoundaryConditions {
    /// Conditions at the left end.
    pub left: Vec<(usize, f64)>,
    /// Conditions at the right end.
    pub right: Vec<(usize, f64)>,
}

impl BoundaryConditions {
    /// The value vanishes at both ends.
    pub fn zero_at_both_ends() -> Self {
        BoundaryConditions { left: vec![(0, 0.0)], right: vec![(0, 0.0)] }
    }
}

/// A coefficient in terms of others: a constant plus weighted coefficients by their indices.
#[derive(Clone, Debug)]
struct Elimination {
    terms: Vec<(usize, f64)>,
    constant: f64,
}

/// The affine space of splines that satisfy boundary conditions.
///
/// The coefficients of the B-splines are `map * free + offset`.
#[derive(Clone, Debug)]
pub struct ConstrainedBasis {
    basis: BSplineBasis,
    map: DMatrix<f64>,
    offset: Vec<f64>,
}

impl ConstrainedBasis {
    /// Imposes the conditions on a basis.
    pub fn new(basis: BSplineBasis, conditions: &BoundaryConditions) -> Result<Self, SplineError> {
        let (k, p) = (basis.functions(), basis.degree());
        let total = conditions.left.len() + conditions.right.len();
        if total >= k {
            return Err(SplineError::Overdetermined { conditions: total, functions: k });
        }
        // The d-th derivative at a clamped end involves the d + 1 outermost functions only, so the
        // condition of order d fixes coefficient d (counted from that end) in terms of outer ones.
        let mut rows: Vec<Option<Elimination>> = vec![None; k];
        for (side, list) in [(0, &conditions.left), (1, &conditions.right)] {
            let mut sorted = list.clone();
            sorted.sort_by_key(|c| c.0);
            for (n, &(order, value)) in sorted.iter().enumerate() {
                if order > p || (n > 0 && sorted[n - 1].0 == order) {
                    return Err(SplineError::Condition { order, degree: p });
                }
                let mut local = LocalBasis::default();
                let last = basis.spans() - 1;
                let (span, end) = if side == 0 {
                    (0, basis.breakpoints()[0])
                } else {
                    (last, basis.breakpoints()[last + 1])
                };
                basis.evaluate_on_span(span, end, order, &mut local);
                let row = local.row(order);
                let index = |m: usize| if side == 0 { m } else { k - 1 - m };
                let weight = |m: usize| if side == 0 { row[m] } else { row[p - m] };
                let pivot = weight(order);
                let terms = (0..order).map(|m| (index(m), -weight(m) / pivot)).collect();
                if rows[index(order)].is_some() {
                    return Err(SplineError::Overdetermined { conditions: total, functions: k });
                }
                rows[index(order)] = Some(Elimination { terms, constant: value / pivot });
            }
        }
        let free: Vec<usize> = (0..k).filter(|&i| rows[i].is_none()).collect();
        let mut map = DMatrix::zeros(k, free.len());
        let mut offset = vec![0.0; k];
        for (column, &i) in free.iter().enumerate() {
            map[(i, column)] = 1.0;
        }
        // Outermost first, so that every coefficient a condition refers to is already expressed.
        let inward = (0..k.div_ceil(2)).chain((k.div_ceil(2)..k).rev());
        for i in inward {
            if let Some(Elimination { terms, constant }) = &rows[i] {
                offset[i] = *constant;
                for &(m, w) in terms {
                    let source = map.row(m).into_owned();
                    let mut target = map.row_mut(i);
                    target += w * source;
                    offset[i] += w * offset[m];
                }
            }
        }
        Ok(ConstrainedBasis { basis, map, offset })
    }

    /// The B-splines underneath.
    pub fn basis(&self) -> &BSplineBasis {
        &self.basis
    }

    /// Number of free coefficients.
    pub fn free(&self) -> usize {
        self.map.ncols()
    }

    /// Matrix from free to all coefficients.
    pub fn map(&self) -> &DMatrix<f64> {
        &self.map
    }

    /// Coefficients of all B-splines.
    pub fn coefficients(&self, free: &[f64]) -> Vec<f64> {
        let mut all = self.offset.clone();
        for (i, c) in all.iter_mut().enumerate() {
            *c += self.map.row(i).iter().zip(free).map(|(m, f)| m * f).sum::<f64>();
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_for_any_free_coefficients() {
        let basis = BSplineBasis::uniform(6, 9).unwrap();
        let conditions = BoundaryConditions {
            left: vec![(2, 0.7), (0, 0.0), (4, -3.0)],
            right: vec![(1, 2.5), (3, 0.0)],
        };
        let c = ConstrainedBasis::new(basis, &conditions).unwrap();
        assert_eq!(c.free(), c.basis().functions() - 5);
        let free: Vec<f64> = (0..c.free()).map(|i| ((i * 37 % 11) as f64 - 5.0) / 3.0).collect();
        let all = c.coefficients(&free);
        for (end, list) in [(0.0, &conditions.left), (1.0, &conditions.right)] {
            for &(order, value) in list {
                let got = c.basis().value(&all, end, order);
                assert!((got - value).abs() < 1e-8, "derivative {order} at {end}: {got} {value}");
            }
        }
        // The condition that is absent must not hold by accident.
        assert!(c.basis().value(&all, 0.0, 1).abs() > 1e-3);
    }

    #[test]
    fn contradictory_or_too_many_conditions_are_refused() {
        let twice = BoundaryConditions { left: vec![(0, 0.0), (0, 1.0)], right: vec![] };
        let basis = BSplineBasis::uniform(2, 2).unwrap();
        assert!(matches!(
            ConstrainedBasis::new(basis.clone(), &twice),
            Err(SplineError::Condition { order: 0, .. })
        ));
        let many = BoundaryConditions { left: vec![(0, 0.0), (1, 0.0)], right: vec![(0, 0.0)] };
        assert!(matches!(
            ConstrainedBasis::new(basis, &many),
            Err(SplineError::Overdetermined { .. })
        ));
    }
}
