//! Exact diagonalisation that a signal ends: the solver works in a thread of its own.

use super::interrupt::Interrupt;
use crate::exact::{ExactError, ExactOptions, ExactResult, Step, solve, solve_on_line};
use crate::system::{Geometry, Hamiltonian, Sector};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Between two looks for a signal.
const TICK: Duration = Duration::from_millis(50);
/// How long the solver may take to stop by itself. Afterwards it is left behind: the process is about to end,
/// and a dense eigenproblem cannot be stopped halfway.
const PATIENCE: Duration = Duration::from_millis(700);
/// The stack that the main thread has as well.
const STACK: usize = 8 << 20;

/// What to solve.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) hamiltonian: Hamiltonian,
    pub(super) sector: Sector,
    /// `None` is the infinite line.
    pub(super) geometry: Option<Geometry>,
}

enum News {
    Step(Step),
    Done(Box<Result<ExactResult, ExactError>>),
}

/// Solves `task`, on the threads of `pool` or on those of the process, while `show` hears the news.
///
/// # Errors
/// Those of the solver, [`ExactError::Interrupted`] within a second after a signal; the outer one where no thread
/// could be started.
pub(super) fn solve_until(
    task: &Task,
    options: &ExactOptions,
    pool: Option<Arc<rayon::ThreadPool>>,
    interrupt: &Interrupt,
    mut show: impl FnMut(&Step),
) -> io::Result<Result<ExactResult, ExactError>> {
    let (send, news) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let solver = {
        let (task, options, stop) = (task.clone(), options.clone(), Arc::clone(&stop));
        std::thread::Builder::new().stack_size(STACK).spawn(move || {
            let mut spoken = Instant::now();
            let mut progress = |step: &Step| {
                let minor = matches!(step, Step::Work { .. });
                if !minor || spoken.elapsed() > TICK {
                    spoken = Instant::now();
                    // Nobody listens any more: the flag is up.
                    let _ = send.send(News::Step(step.clone()));
                }
                match stop.load(Ordering::Relaxed) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            let mut work = || match &task.geometry {
                Some(g) => solve(&task.hamiltonian, g, task.sector, &options, &mut progress),
                None => solve_on_line(&task.hamiltonian, task.sector, &options, &mut progress),
            };
            let result = match pool {
                Some(pool) => pool.install(work),
                None => work(),
            };
            let _ = send.send(News::Done(Box::new(result)));
        })?
    };
    let mut asked: Option<Instant> = None;
    loop {
        match news.recv_timeout(TICK) {
            Ok(News::Step(step)) => show(&step),
            Ok(News::Done(result)) => return Ok(*result),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => match solver.join() {
                Ok(()) => return Ok(Err(ExactError::Interrupted)),
                Err(panic) => std::panic::resume_unwind(panic),
            },
        }
        if interrupt.exit_code().is_some() {
            stop.store(true, Ordering::Relaxed);
            if asked.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Ok(Err(ExactError::Interrupted));
            }
        }
    }
}
