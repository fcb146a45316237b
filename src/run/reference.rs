//! The exact energy that a run is compared with: the solver works in a thread of its own, which an observer can end.

use super::{Event, Observer, RunError};
use crate::estimate::judge::Scale;
use crate::exact::thermal::{ThermalOptions, ThermalResult, thermal};
use crate::exact::{
    ExactError, ExactOptions, ExactResult, GroundState, News, solve, solve_on_line,
};
use crate::spec::{ReferenceSource, ResolvedSpec};
use crate::store::record::Reference;
use crate::system::{Geometry, Hamiltonian, Sector};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Arithmetic one refinement of the exact energy of a report may cost, some ten seconds on two cores; the whole of it
/// may cost three times that ([`crate::exact::whole_work`]).
const REFERENCE_WORK: f64 = 4e11;
/// Memory it may take.
const REFERENCE_MEMORY: u64 = 2 << 30;
/// Between two questions whether to stop.
const TICK: Duration = Duration::from_millis(50);
/// How long the solver may take to stop by itself. Afterwards it is left behind: a dense eigenproblem cannot be stopped
/// halfway.
const PATIENCE: Duration = Duration::from_millis(700);

/// What to solve.
#[derive(Clone, Debug)]
pub struct Task {
    /// The Hamiltonian.
    pub hamiltonian: Hamiltonian,
    /// The particles.
    pub sector: Sector,
    /// `None` is the infinite line.
    pub geometry: Option<Geometry>,
}

/// What comes from the thread of a solver.
enum Sent<N, T> {
    /// It has begun.
    Begun,
    News(N),
    Done(T),
}

/// A solver in a thread of its own, which is told to stop where nobody waits for it any more.
struct Solver<N, T> {
    stop: Arc<AtomicBool>,
    sent: Receiver<Sent<N, T>>,
    thread: Option<JoinHandle<()>>,
}

impl<N, T> Drop for Solver<N, T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl<N: Send + 'static, T: Send + 'static> Solver<N, T> {
    /// Begins with `work`, in `pool` or in that of the process; it tells its news, and is given the flag that says whether to stop.
    ///
    /// The work is one task of the pool from its beginning: where its parts were handed in from outside one by one, each would wait until
    /// nothing else is left to do.
    ///
    /// # Errors
    /// Where no thread can be started.
    fn begin(
        work: impl FnOnce(&dyn Fn(N), &AtomicBool) -> T + Send + 'static,
        pool: Option<Arc<rayon::ThreadPool>>,
    ) -> io::Result<Self> {
        let (send, sent) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::Builder::new().spawn(move || {
            // Where nobody listens any more the flag is up.
            let tell = |news: N| drop(send.send(Sent::News(news)));
            let work = || {
                drop(send.send(Sent::Begun));
                work(&tell, &asked)
            };
            let done = match pool {
                Some(pool) => pool.install(work),
                None => rayon::join(work, || ()).0,
            };
            let _ = send.send(Sent::Done(done));
        })?;
        // Before anything else asks for the threads: what waits for a part of its own would take this up meanwhile, and end with it.
        let _ = sent.recv_timeout(TICK);
        Ok(Solver { stop, sent, thread: Some(thread) })
    }

    /// Waits for what it finds, while `show` hears its news. None where `stops` says so: after `patience` the thread is left behind.
    fn wait(
        mut self,
        (stops, patience): (&dyn Fn() -> bool, Duration),
        show: &mut dyn FnMut(&N),
    ) -> Option<T> {
        let mut asked: Option<Instant> = None;
        loop {
            match self.sent.recv_timeout(TICK) {
                Ok(Sent::Begun) => {}
                Ok(Sent::News(news)) => show(&news),
                Ok(Sent::Done(done)) => return Some(done),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    match self.thread.take().map(JoinHandle::join) {
                        Some(Err(panic)) => std::panic::resume_unwind(panic),
                        Some(Ok(())) | None => return None,
                    }
                }
            }
            if stops() {
                self.stop.store(true, Ordering::Relaxed);
                if asked.get_or_insert_with(Instant::now).elapsed() >= patience {
                    return None;
                }
            }
        }
    }
}

/// Solves `task`, on the threads of `pool` or on those of the process, while `show` hears the news.
///
/// # Errors
/// Those of the solver, [`ExactError::Interrupted`] within a second after `stops` says so; the outer one where no thread
/// could be started.
pub fn solve_until(
    task: &Task,
    options: &ExactOptions,
    pool: Option<Arc<rayon::ThreadPool>>,
    stops: &dyn Fn() -> bool,
    show: &mut dyn FnMut(&News),
) -> io::Result<Result<ExactResult, ExactError>> {
    let solver = Solver::begin(solving(task.clone(), options.clone()), pool)?;
    Ok(solver.wait((stops, PATIENCE), show).unwrap_or(Err(ExactError::Interrupted)))
}

/// The work of solving `task`.
fn solving(
    task: Task,
    options: ExactOptions,
) -> impl FnOnce(&dyn Fn(News), &AtomicBool) -> Result<ExactResult, ExactError> + Send {
    move |tell: &dyn Fn(News), stop: &AtomicBool| {
        let mut spoken = Instant::now();
        let mut progress = |news: &News| {
            let minor = matches!(news, News::Work { .. });
            if !minor || spoken.elapsed() > TICK {
                spoken = Instant::now();
                tell(news.clone());
            }
            match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        match &task.geometry {
            Some(g) => solve(&task.hamiltonian, g, task.sector, &options, &mut progress),
            None => solve_on_line(&task.hamiltonian, task.sector, &options, &mut progress),
        }
    }
}

/// The canonical ensemble of `task`, on the threads of `pool` or on those of the process.
///
/// # Errors
/// Those of the solver, [`ExactError::Interrupted`] soon after `stops` says so: the solver is left behind then, since a dense
/// eigenproblem cannot be stopped halfway. The outer one where no thread could be started.
pub fn thermal_until(
    task: &Task,
    options: &ThermalOptions,
    pool: Option<Arc<rayon::ThreadPool>>,
    stops: &dyn Fn() -> bool,
) -> io::Result<Result<ThermalResult, ExactError>> {
    let (task, options) = (task.clone(), *options);
    let work = move |_: &dyn Fn(()), stop: &AtomicBool| {
        let geometry = task.geometry.unwrap_or(Geometry::Line);
        let mut goes_on = |_| !stop.load(Ordering::Relaxed);
        thermal(&task.hamiltonian, &geometry, task.sector, &options, &mut goes_on)
    };
    let solved = Solver::begin(work, pool)?.wait((stops, Duration::ZERO), &mut |()| {});
    Ok(solved.unwrap_or(Err(ExactError::Interrupted)))
}

/// The lowest states of a spec within what the reference of a report may cost.
pub(super) fn asked(spec: &ResolvedSpec, states: usize) -> (Task, ExactOptions) {
    let task = Task {
        hamiltonian: spec.hamiltonian.clone(),
        sector: spec.sector,
        geometry: Some(spec.geometry),
    };
    let options = ExactOptions {
        states,
        work_limit: REFERENCE_WORK,
        memory_limit_bytes: REFERENCE_MEMORY,
        ..ExactOptions::default()
    };
    (task, options)
}

/// The exact energy of a spec, which is sought while something else goes on.
pub(super) struct Beside(Solver<News, Result<ExactResult, ExactError>>);

impl Beside {
    /// Begins with the reference of a spec, where it asks for exact diagonalisation.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(super) fn begin(spec: &ResolvedSpec) -> io::Result<Option<Self>> {
        if spec.reference != ReferenceSource::Exact {
            return Ok(None);
        }
        let (task, mut options) = asked(spec, 1);
        options.pair_density = spec.sector.particles() > 1;
        Ok(Some(Beside(Solver::begin(solving(task, options), None)?)))
    }

    /// Waits for the solver, as [`solve_until`] does.
    fn wait(
        self,
        stops: &dyn Fn() -> bool,
        show: &mut dyn FnMut(&News),
    ) -> Result<ExactResult, ExactError> {
        self.0.wait((stops, PATIENCE), show).unwrap_or(Err(ExactError::Interrupted))
    }
}

/// The exact energy, with what else is known of its state, or why there is none, where one was asked for.
type Compared = Result<(Reference, Option<GroundState>), Option<String>>;

/// The exact energy, with what else is known of its state, or why there is none: a literal of the spec, or exact
/// diagonalisation where it is cheap enough, which may have begun already.
///
/// # Errors
/// [`RunError::Interrupted`] where the observer ends it, and where no thread can be started.
pub(super) fn reference(
    spec: &ResolvedSpec,
    energy: f64,
    begun: Option<Beside>,
    observer: &mut dyn Observer,
) -> Result<Compared, RunError> {
    match &spec.reference {
        ReferenceSource::None => Ok(Err(None)),
        ReferenceSource::Literal { energy: exact, source } => {
            let reference = Reference {
                energy: *exact,
                error_estimate: None,
                source: source.clone(),
                deviation: energy - exact,
            };
            Ok(Ok((reference, None)))
        }
        ReferenceSource::Exact => {
            observer.hear(Event::Phase("exact energy for comparison"));
            let begun = match begun {
                None => Beside::begin(spec)?,
                begun => begun,
            };
            let observer = std::cell::RefCell::new(observer);
            let stops = || observer.borrow().stops();
            let mut show = |news: &News| match news {
                News::Predicted { determinants, .. } => {
                    let note = format!("{determinants} determinants");
                    observer.borrow_mut().hear(Event::Note(&note));
                }
                News::Work { done, limit } => {
                    observer.borrow_mut().hear(Event::Share(done / limit));
                }
                News::Iteration(_) | News::Row(_) => {}
            };
            let solved = match begun {
                Some(begun) => begun.wait(&stops, &mut show),
                None => Err(ExactError::Interrupted),
            };
            let observer = observer.into_inner();
            observer.hear(Event::PhaseEnded);
            match solved {
                Ok(result) => {
                    let scale = Scale {
                        particles: spec.sector.particles(),
                        kinetic: result.components.kinetic,
                        interaction: result.components.interaction,
                    };
                    if let Some(why) = scale.too_uncertain(result.error_estimates[0]) {
                        observer.hear(Event::Message(&format!("no exact energy: {why}")));
                        return Ok(Err(Some(why)));
                    }
                    let reference = Reference {
                        energy: result.energies[0],
                        error_estimate: Some(result.error_estimates[0]),
                        source: result.method,
                        deviation: energy - result.energies[0],
                    };
                    Ok(Ok((reference, result.ground_state.ok())))
                }
                Err(ExactError::Interrupted) => Err(RunError::Interrupted { checkpoint: None }),
                Err(error) => {
                    let hint = match error {
                        ExactError::Memory { .. } | ExactError::Work { .. } => {
                            " (`weylflow exact` may take longer)"
                        }
                        _ => "",
                    };
                    let why = format!("{error}{hint}");
                    observer.hear(Event::Message(&format!("no exact energy: {why}")));
                    Ok(Err(Some(why)))
                }
            }
        }
    }
}
