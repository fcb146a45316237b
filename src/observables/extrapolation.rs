//! Extrapolation of the energy to zero variance along a run.
//!
//! Close to an eigenstate the error of the energy is proportional to the variance of the local energy, so the
//! energies of a run lie on a straight line in the variance, whose end at zero is the energy of the eigenstate
//! (for instance Y. Kwon, D. M. Ceperley, R. M. Martin, Phys. Rev. B 48, 12037 (1993)). That the points do not lie
//! on the line perfectly is in the error bar, that the line bends is not.

/// A straight line through energies against variances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extrapolation {
    /// Energy at zero variance, in Hartree.
    pub energy: f64,
    /// Its standard error.
    pub error: f64,
    /// Slope, in 1/Hartree.
    pub slope: f64,
    /// Points behind it.
    pub points: usize,
}

/// Iterations whose variance is more than this many times the smallest tenth are too far from the eigenstate.
const REACH: f64 = 20.0;
/// Fewest points for a line with an error.
const FEWEST: usize = 6;

/// Fits `(variance, energy, standard error)` of the iterations of a run. `None` with too few points, or where all
/// have about the same variance.
pub fn extrapolate(rows: &[(f64, f64, f64)]) -> Option<Extrapolation> {
    let usable = |r: &&(f64, f64, f64)| {
        r.0.is_finite() && r.0 > 0.0 && r.1.is_finite() && r.2.is_finite() && r.2 > 0.0
    };
    let rows: Vec<_> = rows.iter().filter(usable).collect();
    let mut variances: Vec<f64> = rows.iter().map(|r| r.0).collect();
    variances.sort_by(f64::total_cmp);
    let limit = REACH * variances.get(variances.len() / 10)?;
    let rows: Vec<_> = rows.into_iter().filter(|r| r.0 <= limit).collect();
    if rows.len() < FEWEST {
        return None;
    }
    let weight = |r: &(f64, f64, f64)| 1.0 / (r.2 * r.2);
    let total: f64 = rows.iter().map(|r| weight(r)).sum();
    let mean = |f: &dyn Fn(&(f64, f64, f64)) -> f64| {
        rows.iter().map(|r| weight(r) * f(r)).sum::<f64>() / total
    };
    let (x, y) = (mean(&|r| r.0), mean(&|r| r.1));
    let sxx = mean(&|r| (r.0 - x).powi(2));
    if sxx <= (0.05 * x).powi(2) {
        return None;
    }
    let slope = mean(&|r| (r.0 - x) * (r.1 - y)) / sxx;
    let energy = y - slope * x;
    let chi2 = rows.iter().map(|r| weight(r) * (r.1 - energy - slope * r.0).powi(2)).sum::<f64>();
    // Scatter beyond the statistical errors makes the error larger, never smaller.
    let excess = (chi2 / (rows.len() - 2) as f64).max(1.0);
    let error = (excess * (1.0 + x * x / sxx) / total).sqrt();
    Some(Extrapolation { energy, error, slope, points: rows.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_ends_at_its_energy() {
        let rows: Vec<_> = (1..40)
            .map(|i| {
                let variance = 0.5 / f64::from(i);
                (variance, -2.0 + 0.3 * variance, 1e-3)
            })
            .collect();
        let line = extrapolate(&rows).unwrap();
        assert!((line.energy + 2.0).abs() < 1e-12 && (line.slope - 0.3).abs() < 1e-10);
        assert!(line.error > 1e-4 && line.error < 1e-3, "{}", line.error);
        assert_eq!(extrapolate(&rows[..3]), None);
        assert_eq!(extrapolate(&[(0.1, -2.0, 1e-3); 20]), None);
        assert_eq!(extrapolate(&[]), None);
    }
}
