//! Fewer points for the same picture: a figure has no use for more than it has pixels.

/// Points of a curve, thinned to at most about `most`: of every stretch the lowest and the highest
/// stay, in their order, so that no spike is lost. The ends stay too.
pub(super) fn curve(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    if points.len() <= most.max(4) {
        return points.to_vec();
    }
    let stretches = (most / 2).max(2);
    let mut kept = Vec::with_capacity(2 * stretches + 2);
    kept.push(0);
    for stretch in chunks(points.len(), stretches) {
        let by_height = |&a: &usize, &b: &usize| points[a].1.total_cmp(&points[b].1);
        // A stretch holds at least one point, as there are more points than stretches.
        let low = stretch.clone().min_by(by_height).unwrap_or(0);
        let high = stretch.max_by(by_height).unwrap_or(0);
        kept.extend([low.min(high), low.max(high)]);
    }
    kept.push(points.len() - 1);
    kept.dedup();
    kept.into_iter().map(|i| points[i]).collect()
}

/// A band, thinned to at most `most` points: of every stretch the middle, the lowest lower edge and
/// the highest upper edge.
pub(super) fn band(points: &[(f64, f64, f64)], most: usize) -> Vec<(f64, f64, f64)> {
    if points.len() <= most.max(2) {
        return points.to_vec();
    }
    chunks(points.len(), most.max(2))
        .map(|stretch| {
            let part = &points[stretch];
            let low = part.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
            let high = part.iter().map(|p| p.2).fold(f64::NEG_INFINITY, f64::max);
            (part[part.len() / 2].0, low, high)
        })
        .collect()
}

fn chunks(n: usize, parts: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..parts).map(move |i| i * n / parts..(i + 1) * n / parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spikes_and_ends_survive() {
        let mut points: Vec<_> = (0..100_000).map(|i| (i as f64, (i % 7) as f64)).collect();
        points[43_210].1 = 99.0;
        points[77_777].1 = -99.0;
        let thin = curve(&points, 1000);
        assert!(thin.len() <= 1002);
        assert!(thin.contains(&(43_210.0, 99.0)) && thin.contains(&(77_777.0, -99.0)));
        assert_eq!((thin[0], thin[thin.len() - 1]), (points[0], points[99_999]));
        assert!(thin.windows(2).all(|w| w[0].0 < w[1].0));
        assert_eq!(thin, curve(&points, 1000));
    }

    #[test]
    fn short_curves_stay_as_they_are() {
        let points = [(0.0, 1.0), (1.0, 2.0)];
        assert_eq!(curve(&points, 0), points);
        assert_eq!(curve(&[], 10), []);
        assert_eq!(band(&[], 10), []);
    }

    #[test]
    fn a_thinned_band_holds_every_edge() {
        let points: Vec<_> = (0..5000).map(|i| (i as f64, -(i as f64), i as f64)).collect();
        let thin = band(&points, 100);
        assert_eq!(thin.len(), 100);
        assert_eq!((thin[99].1, thin[99].2), (-4999.0, 4999.0));
    }
}
