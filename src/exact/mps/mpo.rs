//! The Hamiltonian on a chain of sites, its couplings across every cut compressed to few states.
//!
//! The couplings of what lies left of a cut with what lies right of it are the upper-triangular blocks of a
//! matrix. Going from left to right, each is replaced by the leading singular vectors of what the
//! singular vectors of the block before have left of it: the sequence of bases is nested, which is what a matrix
//! product operator needs (F. Froewis, V. Nebendahl and W. Duer, Phys. Rev. A 81, 062337 (2010); C. Hubig,
//! I. P. McCulloch and U. Schollwoeck, Phys. Rev. B 95, 035129 (2017)).

use faer::{Mat, MatRef};

/// One site: a grid point for one spin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) point: usize,
    pub(crate) spin: usize,
}

/// How the couplings of one kind pass a site.
#[derive(Clone, Debug)]
pub(crate) struct Passage {
    /// From the states of the cut left of the site to those of the cut right of it.
    pub(crate) transfer: Mat<f64>,
    /// What the operator of the site contributes to each state of the cut right of it.
    pub(crate) open: Vec<f64>,
    /// How each state of the cut left of the site couples to the operator of the site.
    pub(crate) close: Vec<f64>,
    /// Square of how strongly each state of the cut right of the site couples to all that is right of it.
    pub(crate) strength: Vec<f64>,
}

/// Second-quantised Hamiltonian on a chain of sites with at most one particle each:
/// `sum_s e_s n_s + sum_{s<t} [ k_st (c+_s c_t + h.c.) + w_st n_s n_t ]`, hopping between sites of one spin.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    pub(crate) sites: Vec<Site>,
    pub(crate) onsite: Vec<f64>,
    /// For each spin, how its hopping passes each site.
    pub(crate) hopping: [Vec<Passage>; 2],
    pub(crate) density: Vec<Passage>,
}

/// Compresses `coupling(s, t)`, `s < t`, among the sites that take part; `tolerance` bounds the singular values dropped.
fn compress(
    sites: usize,
    takes_part: impl Fn(usize) -> bool,
    coupling: impl Fn(usize, usize) -> f64,
    tolerance: f64,
) -> Vec<Passage> {
    let members: Vec<usize> = (0..sites).filter(|&s| takes_part(s)).collect();
    // Rows: states of the cut; columns: members right of it.
    let mut rest = Mat::<f64>::zeros(0, members.len());
    let mut done = 0;
    let strength = |rest: &Mat<f64>| -> Vec<f64> {
        (0..rest.nrows()).map(|b| (0..rest.ncols()).map(|j| rest[(b, j)].powi(2)).sum()).collect()
    };
    let mut list = Vec::with_capacity(sites);
    for site in 0..sites {
        let rank = rest.nrows();
        if !takes_part(site) {
            list.push(Passage {
                transfer: Mat::identity(rank, rank),
                open: vec![0.0; rank],
                close: vec![0.0; rank],
                strength: strength(&rest),
            });
            continue;
        }
        let close: Vec<f64> = (0..rank).map(|b| rest[(b, 0)]).collect();
        done += 1;
        let right = &members[done..];
        let stacked = Mat::from_fn(rank + 1, right.len(), |b, j| {
            if b < rank { rest[(b, j + 1)] } else { coupling(site, right[j]) }
        });
        let (u, kept) = leading(stacked.as_ref(), tolerance);
        let open = (0..kept.nrows()).map(|b| u[(rank, b)]).collect();
        let transfer = u.subrows(0, rank).to_owned();
        list.push(Passage { transfer, open, close, strength: strength(&kept) });
        rest = kept;
    }
    list
}

/// Leading left singular vectors `u` and `u^T a`.
fn leading(a: MatRef<'_, f64>, tolerance: f64) -> (Mat<f64>, Mat<f64>) {
    let (rows, cols) = (a.nrows(), a.ncols());
    let nothing = || (Mat::zeros(rows, 0), Mat::zeros(0, cols));
    if rows == 0 || cols == 0 {
        return nothing();
    }
    let Ok(svd) = a.thin_svd() else { return (Mat::identity(rows, rows), a.to_owned()) };
    let values = svd.S().column_vector();
    let rank = (0..values.nrows()).filter(|&i| values[i] > tolerance).count();
    if rank == 0 {
        return nothing();
    }
    let u = svd.U().subcols(0, rank).to_owned();
    let kept = u.transpose() * a;
    (u, kept)
}

impl Operator {
    /// From the kinetic matrix, external potential and interaction between the points of a grid, for the spins that have
    /// particles. Couplings are kept down to `tolerance`, in Hartree.
    pub(crate) fn new(
        kinetic: MatRef<'_, f64>,
        external: &[f64],
        interaction: impl Fn(usize, usize) -> f64,
        spins: &[usize],
        tolerance: f64,
    ) -> Self {
        let sites: Vec<Site> = (0..external.len())
            .flat_map(|point| spins.iter().map(move |&spin| Site { point, spin }))
            .collect();
        let onsite =
            sites.iter().map(|s| kinetic[(s.point, s.point)] + external[s.point]).collect();
        let hopping = [0, 1].map(|spin| {
            compress(
                sites.len(),
                |s| sites[s].spin == spin,
                |s, t| kinetic[(sites[s].point, sites[t].point)],
                tolerance,
            )
        });
        let density = compress(
            sites.len(),
            |_| true,
            |s, t| interaction(sites[s].point, sites[t].point),
            tolerance,
        );
        Operator { sites, onsite, hopping, density }
    }

    /// Memory of all blocks of one side whose cuts have `states` states, in bytes, were there no conserved numbers: these
    /// save about as much as the blocks of the other side take.
    pub(crate) fn block_bytes(&self, states: usize) -> u64 {
        let passing = |p: &Passage| p.transfer.ncols() + 1;
        let couplings: usize = [&self.hopping[0], &self.hopping[1], &self.density]
            .into_iter()
            .flat_map(|passages| passages.iter().map(passing))
            .sum();
        8 * (couplings * states * states) as u64
    }
}
