//! The processes that `mpirun` or `srun` started, as a [`Team`] led by rank 0.
//!
//! Only the main thread of a process sends and receives. A process that panics, or cannot do what it is asked, ends all of them:
//! nobody waits for a message that never comes.

use super::Team;
use ::mpi::Threading;
use ::mpi::environment::{Universe, initialize_with_threading};
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator, Destination, Source};
use std::time::Duration;

/// What a message is. The first of a message is its length, then come the pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    End,
    Begin,
    Order,
    Clock,
    Answer,
}

impl Kind {
    const ALL: [Self; 5] = [Self::End, Self::Begin, Self::Order, Self::Clock, Self::Answer];
}

/// Most bytes sent at once: MPI counts them in 32 bits.
const PIECE: usize = 1 << 30;
/// Pause between two looks for a message. MPI's own way to wait keeps a core busy, and the process that leads may need it.
const PAUSE: Duration = Duration::from_micros(50);
/// Exit code of all processes where one fails; the leader's own errors have theirs.
const FAILED: i32 = 1;

/// Why there is no team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It was joined before.
    #[error("MPI is initialised once per process")]
    Twice,
    /// The library is not built for processes with several threads.
    #[error("the MPI library does not support processes with several threads")]
    Threads,
}

/// The place of this process in the team.
#[derive(Debug)]
pub enum Seat {
    /// Rank 0.
    Leader(Leader),
    /// Any other.
    Follower(Follower),
}

/// Joins the processes of the same start; without `mpirun` that is this process alone.
///
/// # Errors
/// See [`JoinError`].
pub fn join() -> Result<Seat, JoinError> {
    let (universe, threading) =
        initialize_with_threading(Threading::Funneled).ok_or(JoinError::Twice)?;
    let connection = Connection { world: universe.world(), _universe: universe };
    if threading < Threading::Funneled {
        return Err(JoinError::Threads);
    }
    Ok(match connection.world.rank() {
        0 => Seat::Leader(Leader(connection)),
        _ => Seat::Follower(Follower(connection)),
    })
}

struct Connection {
    world: SimpleCommunicator,
    // Its end is that of MPI.
    _universe: Universe,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "process {} of {}", self.world.rank(), self.world.size())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // To finalise would be to wait for the others, who wait for this one.
        if std::thread::panicking() {
            self.world.abort(FAILED);
        }
    }
}

impl Connection {
    fn send(&self, process: usize, kind: Kind, bytes: &[u8]) {
        let to = self.world.process_at_rank(process as i32);
        to.send_with_tag(&(bytes.len() as u64), kind as i32);
        bytes.chunks(PIECE).for_each(|piece| to.send_with_tag(piece, kind as i32));
    }

    /// The next message of a process.
    fn receive(&self, process: usize) -> (Kind, Vec<u8>) {
        let from = self.world.process_at_rank(process as i32);
        let status = loop {
            match from.immediate_probe() {
                Some(status) => break status,
                None => std::thread::sleep(PAUSE),
            }
        };
        let kind = Kind::ALL.into_iter().find(|k| *k as i32 == status.tag());
        let kind = kind.expect("all processes of a team are the same program");
        let (length, _) = from.receive_with_tag::<u64>(kind as i32);
        let mut bytes = vec![0; length as usize];
        for piece in bytes.chunks_mut(PIECE) {
            from.receive_into_with_tag(piece, kind as i32);
        }
        (kind, bytes)
    }
}

/// Rank 0. The others end when it is dropped.
#[derive(Debug)]
pub struct Leader(Connection);

impl Leader {
    fn others(&self) -> std::ops::Range<usize> {
        1..self.processes()
    }
}

impl Team for Leader {
    fn processes(&self) -> usize {
        self.0.world.size() as usize
    }

    fn begin(&self, spec: &str) {
        self.others().for_each(|process| self.0.send(process, Kind::Begin, spec.as_bytes()));
    }

    fn send(&self, process: usize, order: Vec<u8>) {
        self.0.send(process, Kind::Order, &order);
    }

    fn receive(&self, process: usize) -> Vec<u8> {
        let (kind, bytes) = self.0.receive(process);
        assert_eq!(kind, Kind::Answer, "a process answers its orders");
        bytes
    }

    fn processor_seconds(&self) -> f64 {
        self.others().for_each(|process| self.0.send(process, Kind::Clock, &[]));
        let seconds = |process| {
            let answer = self.receive(process);
            answer.first_chunk().map_or(f64::NAN, |bytes| f64::from_le_bytes(*bytes))
        };
        self.others().map(seconds).sum()
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.others().for_each(|process| self.0.send(process, Kind::End, &[]));
        }
    }
}

/// What a follower is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call<'a> {
    /// To build the wavefunction of a spec; no answer.
    Begin(&'a str),
    /// An order of [`crate::local_energy`].
    Order(&'a [u8]),
    /// Its processor time in seconds, as the bytes of a number.
    Clock,
}

/// Any rank but 0.
#[derive(Debug)]
pub struct Follower(Connection);

impl Follower {
    /// Answers calls until the leader ends. An error is printed and ends all processes.
    pub fn follow(&self, mut answer: impl FnMut(Call) -> Result<Vec<u8>, String>) {
        loop {
            let (kind, bytes) = self.0.receive(0);
            let found = match kind {
                Kind::End => return,
                Kind::Begin => match std::str::from_utf8(&bytes) {
                    Ok(spec) => answer(Call::Begin(spec)),
                    Err(error) => Err(error.to_string()),
                },
                Kind::Order => answer(Call::Order(&bytes)),
                Kind::Clock => answer(Call::Clock),
                Kind::Answer => Err("a process that leads gives no answers".into()),
            };
            match found {
                Ok(_) if kind == Kind::Begin => {}
                Ok(found) => self.0.send(0, Kind::Answer, &found),
                Err(error) => {
                    eprintln!("error: {:?}: {error}", self.0);
                    self.0.world.abort(FAILED);
                }
            }
        }
    }
}
