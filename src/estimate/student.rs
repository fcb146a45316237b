//! What an error bar from few numbers is worth.

/// The number of Gaussian error bars as unlikely as `bars` error bars whose length was estimated with `freedom`
/// degrees of freedom; the number itself for an error bar known exactly (`None`).
///
/// Formula of D. L. Wallace, "Bounds on normal approximations to Student's and the chi-square distributions", Ann.
/// Math. Stat. 30, 1121 (1959), to about one percent for seven and more degrees of freedom.
pub fn gaussian_bars(bars: f64, freedom: Option<usize>) -> f64 {
    let Some(freedom) = freedom else { return bars };
    let n = freedom as f64;
    let size = (8.0 * n + 1.0) / (8.0 * n + 3.0) * (n * (bars * bars / n).ln_1p()).sqrt();
    size.copysign(bars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_student_become_those_of_gauss() {
        // Tabulated quantiles of Student's t, with the Gaussian quantiles of the same probability.
        for (freedom, t, z) in [
            (15, 2.131, 1.960), // 97.5 %
            (15, 2.947, 2.576), // 99.5 %
            (15, 4.073, 3.291), // 99.95 %
            (7, 2.365, 1.960),
            (30, 3.646, 3.291),
        ] {
            assert!((gaussian_bars(t, Some(freedom)) / z - 1.0).abs() < 0.01, "{freedom} {t}");
            assert_eq!(gaussian_bars(-t, Some(freedom)), -gaussian_bars(t, Some(freedom)));
        }
        assert_eq!(gaussian_bars(3.0, None), 3.0);
        assert!((gaussian_bars(3.0, Some(1_000_000)) - 3.0).abs() < 1e-4);
        assert!(gaussian_bars(f64::NAN, Some(15)).is_nan());
        assert_eq!(gaussian_bars(f64::NEG_INFINITY, Some(15)), f64::NEG_INFINITY);
    }
}
