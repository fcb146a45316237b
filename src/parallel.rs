//! The one place that knows the thread pool: work in fixed chunks, results in order.
//!
//! Chunk boundaries depend on the problem only and results are combined in the order of the chunks, so that
//! every number is the same, bit for bit, for any number of threads.

use crate::work::{self, Work};
use rayon::prelude::*;
use std::ops::Range;

/// Number of samples one task draws and evaluates.
pub const SAMPLE_CHUNK: usize = 32;

/// Makes the operators and factorisations of the linear algebra library run on one thread: its sums over several
/// depend on how many there are.
pub fn pin_linear_algebra() {
    static PINNED: std::sync::Once = std::sync::Once::new();
    PINNED.call_once(|| faer::set_global_parallelism(faer::Par::Seq));
}

/// Runs `task` on each chunk of `0..count` and returns the results in order.
///
/// `task` gets the number of the chunk and its range.
pub fn map_chunks<R: Send>(
    count: usize,
    chunk: usize,
    task: impl Fn(usize, Range<usize>) -> R + Sync,
) -> Vec<R> {
    map_chunks_into(count, chunk, vec![(); count.div_ceil(chunk)], |c, range, ()| task(c, range))
}

/// [`map_chunks`] with a place for each chunk to write to.
pub fn map_chunks_into<P: Send, R: Send>(
    count: usize,
    chunk: usize,
    places: Vec<P>,
    task: impl Fn(usize, Range<usize>, P) -> R + Sync,
) -> Vec<R> {
    assert_eq!(places.len(), count.div_ceil(chunk));
    let one = |(c, place)| work::counted(|| task(c, c * chunk..count.min((c + 1) * chunk), place));
    let done: Vec<(R, Work)> = places.into_par_iter().enumerate().map(one).collect();
    let keep = |(result, work)| {
        work::add(work);
        result
    };
    done.into_iter().map(keep).collect()
}

/// Runs `task` on consecutive pieces of `data`, `length` elements each; gets the number of the piece.
pub fn for_each_piece<T: Send>(
    data: &mut [T],
    length: usize,
    task: impl Fn(usize, &mut [T]) + Sync,
) {
    let one = |(i, piece)| work::counted(|| task(i, piece)).1;
    work::add(data.par_chunks_mut(length).enumerate().map(one).reduce(|| Work::NONE, Work::and));
}
