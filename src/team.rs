//! Processes that share the samples of a run.
//!
//! One of them leads: it alone trains, estimates, reads and writes. The others keep a copy of the wavefunction and carry out
//! orders, which say at which parameters to evaluate which range of samples. Ranges begin where chunks do and results are joined in
//! the order of the ranges, so that a team gives the bits of one process.
//!
//! How orders travel is the business of who implements [`Team`]; without a team all work is done here.

#[cfg(feature = "mpi")]
pub mod mpi;

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// The others, as the process that leads sees them: numbers 1 to `processes() - 1`.
pub trait Team {
    /// How many processes there are, with this one.
    fn processes(&self) -> usize;

    /// Makes all others build the wavefunction of a spec, in RON, that depends on no other file.
    fn begin(&self, spec: &str);

    /// Gives one of them an order.
    fn send(&self, process: usize, order: Vec<u8>);

    /// The answer of one of them to its order. Never returns where there is none: a team of which a process is lost
    /// ends.
    fn receive(&self, process: usize) -> Vec<u8>;

    /// Processor time of all others so far, in seconds.
    fn processor_seconds(&self) -> f64;
}

thread_local! {
    // A team belongs to the thread that leads it: libraries of message passing do not like to be called by others.
    static TEAM: RefCell<Option<Rc<dyn Team>>> = const { RefCell::new(None) };
}

/// The team that the calling thread leads.
pub fn current() -> Option<Rc<dyn Team>> {
    TEAM.with_borrow(Clone::clone)
}

/// Runs a task without the team, if there is one: what it computes is no matter of others.
pub fn alone<R>(task: impl FnOnce() -> R) -> R {
    let team = TEAM.take();
    let result = task();
    TEAM.set(team);
    result
}

/// Runs `task` with a team to lead; the one before comes back after it.
pub fn leading<R>(team: Rc<dyn Team>, task: impl FnOnce() -> R) -> R {
    struct Before(Option<Rc<dyn Team>>);
    impl Drop for Before {
        fn drop(&mut self) {
            TEAM.set(self.0.take());
        }
    }
    let _before = Before(TEAM.replace(Some(team)));
    task()
}

/// The part of `0..count` that is a process's own: whole chunks, and to one process at most one chunk more than to another.
fn part(count: usize, chunk: usize, process: usize, processes: usize) -> Range<usize> {
    let chunks = count.div_ceil(chunk);
    let edge = |p: usize| (chunks * p / processes * chunk).min(count);
    edge(process)..edge(process + 1)
}

/// Splits `0..count` at multiples of `chunk` among the processes of the team and returns the results in order.
///
/// `order` says what another process shall do about a range, `here` does it, `read` understands an answer.
///
/// # Panics
/// If an answer cannot be read: the processes are not of one version.
pub(crate) fn share<R>(
    count: usize,
    chunk: usize,
    order: impl Fn(Range<usize>) -> Vec<u8>,
    here: impl FnOnce(Range<usize>) -> Vec<R>,
    read: impl Fn(&[u8]) -> Option<R>,
) -> Vec<R> {
    let Some(team) = current() else { return here(0..count) };
    let processes = team.processes();
    let part = |process| part(count, chunk, process, processes);
    let busy = |process: &usize| !part(*process).is_empty();
    for process in (1..processes).filter(busy) {
        team.send(process, order(part(process)));
    }
    let mut results = here(part(0));
    for process in (1..processes).filter(busy) {
        let answer = team.receive(process);
        results.push(read(&answer).expect("all processes of a team are the same program"));
    }
    results
}

/// What goes from one process to another, as bytes: every number keeps its bits.
pub(crate) fn packed(value: &impl Serialize) -> Vec<u8> {
    // Plain data in memory has no way to fail.
    postcard::to_stdvec(value).unwrap_or_default()
}

/// What was packed; nothing where the bytes are not all of it.
pub(crate) fn unpacked<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_survives_and_missing_bytes_are_noticed() {
        let values = [0.0, -0.0, f64::from_bits(0x7ff8_0000_0000_0123), f64::MIN_POSITIVE / 4.0];
        let bytes = packed(&(u64::MAX, values.to_vec(), f64::NEG_INFINITY));
        let (count, read, last): (u64, Vec<f64>, f64) = unpacked(&bytes).unwrap();
        assert_eq!((count, last), (u64::MAX, f64::NEG_INFINITY));
        assert!(read.iter().map(|v| v.to_bits()).eq(values.map(f64::to_bits)));
        for end in 0..bytes.len() {
            assert!(unpacked::<(u64, Vec<f64>, f64)>(&bytes[..end]).is_none());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(unpacked::<(u64, Vec<f64>, f64)>(&longer).is_none());
        // A length that no memory could hold.
        assert!(unpacked::<Vec<f64>>(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_none());
    }

    #[test]
    fn parts_are_whole_chunks_in_order_and_even() {
        for count in [0, 1, 31, 32, 33, 500, 4096] {
            for processes in 1..7 {
                let parts: Vec<_> = (0..processes).map(|p| part(count, 32, p, processes)).collect();
                assert_eq!((parts[0].start, parts[processes - 1].end), (0, count));
                assert!(parts.windows(2).all(|p| p[0].end == p[1].start));
                assert!(parts.iter().all(|p| p.start % 32 == 0 || p.start == count));
                let sizes = parts.iter().map(|p| p.len().div_ceil(32));
                assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
            }
        }
    }
}
