//! The orders of the components along the line.

/// All distinct sequences of `counts[c]` particles of each component `c`, in lexicographic order.
pub(crate) fn orders(counts: &[usize]) -> Vec<Vec<u8>> {
    let mut next: Vec<u8> = Vec::new();
    for (component, &count) in counts.iter().enumerate() {
        // At most 32 components: one particle each.
        next.extend(std::iter::repeat_n(component as u8, count));
    }
    let mut all = vec![next.clone()];
    while advance(&mut next) {
        all.push(next.clone());
    }
    all
}

/// The next permutation in lexicographic order.
fn advance(order: &mut [u8]) -> bool {
    let Some(rise) = (1..order.len()).rev().find(|&i| order[i - 1] < order[i]) else {
        return false;
    };
    let pivot = order[rise - 1];
    if let Some(swap) = (rise..order.len()).rev().find(|&i| order[i] > pivot) {
        order.swap(rise - 1, swap);
    }
    order[rise..].reverse();
    true
}

/// Number of orders; infinite where it is beyond all use.
pub(crate) fn count(counts: &[usize]) -> f64 {
    let n: usize = counts.iter().sum();
    let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
    factorial(n) / counts.iter().map(|&c| factorial(c)).product::<f64>()
}

/// The order after the particles at `k` and `k + 1` have changed places.
pub(crate) fn exchanged(order: &[u8], k: usize) -> Vec<u8> {
    let mut other = order.to_vec();
    let next = (k + 1) % order.len();
    other.swap(k, next);
    other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_orders_are_found_once() {
        assert_eq!(orders(&[2, 1]), [[0, 0, 1], [0, 1, 0], [1, 0, 0]]);
        for counts in [&[3, 1][..], &[2, 2], &[1, 1, 1], &[3, 3], &[1]] {
            let all = orders(counts);
            assert_eq!(all.len() as f64, count(counts));
            assert!(all.windows(2).all(|w| w[0] < w[1]));
        }
    }
}
