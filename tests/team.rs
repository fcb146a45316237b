//! A team gives the bits of one process: tried without any message passing, the others being threads.

use std::path::Path;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use weylflow::estimate;
use weylflow::local_energy;
use weylflow::spec::{ResolvedSpec, read};
use weylflow::system::System;
use weylflow::team::{self, Team};
use weylflow::train;
use weylflow::work::{self, Work};

fn system(spec: &ResolvedSpec) -> System<'_> {
    System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry }
}

struct Other {
    orders: Sender<Vec<u8>>,
    answers: Receiver<Vec<u8>>,
    thread: JoinHandle<()>,
}

/// Threads that know the spec and nothing else of the process that leads.
struct Threads {
    others: Vec<Other>,
    spec: ResolvedSpec,
    orders: Mutex<usize>,
}

impl Threads {
    fn new(processes: usize, spec: &ResolvedSpec) -> Self {
        let other = |_| {
            let ((orders, to_do), (done, answers)) = (channel(), channel());
            let spec = spec.clone();
            let thread = std::thread::spawn(move || {
                let mut psi = spec.wavefunction.build(spec.sector, system(&spec), 0).unwrap();
                for order in to_do {
                    let order: Vec<u8> = order;
                    // An order cut short is refused, not misunderstood.
                    let cut = &order[..order.len() - 1];
                    assert!(local_energy::serve(psi.as_mut(), system(&spec), cut).is_none());
                    let answer = local_energy::serve(psi.as_mut(), system(&spec), &order);
                    done.send(answer.unwrap()).unwrap();
                }
            });
            Other { orders, answers, thread }
        };
        let others = (1..processes).map(other).collect();
        Threads { others, spec: spec.clone(), orders: Mutex::new(0) }
    }

    fn end(self) -> usize {
        for other in self.others {
            drop(other.orders);
            other.thread.join().unwrap();
        }
        self.orders.into_inner().unwrap()
    }
}

impl Team for Threads {
    fn processes(&self) -> usize {
        1 + self.others.len()
    }

    fn begin(&self, _: &str) {
        unreachable!("{}", self.spec.title)
    }

    fn send(&self, process: usize, order: Vec<u8>) {
        *self.orders.lock().unwrap() += 1;
        self.others[process - 1].orders.send(order).unwrap();
    }

    fn receive(&self, process: usize) -> Vec<u8> {
        self.others[process - 1].answers.recv().unwrap()
    }

    fn processor_seconds(&self) -> f64 {
        0.0
    }
}

/// All bits that a training and its estimate leave, and the work they were.
fn bits(spec: &ResolvedSpec) -> (Vec<u64>, Work) {
    let ((parameters, energies), work) = work::counted(|| {
        let mut psi = spec.wavefunction.build(spec.sector, system(spec), spec.seed).unwrap();
        let mut energies = Vec::new();
        let mut optimiser = spec.optimiser.minimising(spec.objective);
        let schedule = spec.schedule();
        train::train(psi.as_mut(), system(spec), optimiser.as_mut(), &schedule, |report| {
            energies.extend([report.energy.mean(), report.gradient_norm, report.step_norm]);
        })
        .unwrap();
        let found = estimate::estimate(psi.as_ref(), system(spec), &schedule, 20);
        energies.extend([found.energy.mean(), found.energy.standard_error()]);
        energies.extend([found.largest_deviation, found.median_deviation]);
        energies.extend(found.density.density(0).iter().flat_map(|d| [d.0, d.1]));
        (psi.parameters().to_vec(), energies)
    });
    (parameters.iter().chain(&energies).map(|v| v.to_bits()).collect(), work)
}

#[test]
fn a_team_of_any_size_gives_the_bits_and_the_work_of_one_process() {
    for settings in [
        "wavefunction: Waveflow(hidden: [6], knots: 6, prior_knots: 6), sampling: Random",
        "wavefunction: Weyl(layers: [Pair, PairInverse], pair_cells: 8)",
        "wavefunction: Weyl(layers: [Monotone], monotone_cells: 6), optimiser: EnergyNaturalGradient()",
        // Evaluates at given configurations.
        "wavefunction: Weyl(layers: [Monotone], monotone_cells: 6), optimiser: Lbfgs()",
        "wavefunction: Weyl(layers: [Monotone], monotone_cells: 6), optimiser: Adam()",
    ] {
        let text = format!(
            "(title: \"pair\", hamiltonian: Inline(external: Harmonic(), interaction: SoftCoulomb()), \
             sector: (up: 2), geometry: Box(half_width: 6), samples_per_iteration: 200, iterations: 3, \
             final_samples: 700, scramblings: 4, seed: 3, reference: None, {settings})"
        );
        let spec = read::parse(&text, Path::new("t.ron")).unwrap_or_else(|e| panic!("{e}"));
        let alone = bits(&spec);
        assert!(alone.1.local_energies > 3 * 200);
        // More processes than some batches have chunks, too.
        for processes in [1, 2, 3, 9] {
            let team = Rc::new(Threads::new(processes, &spec));
            let together = team::leading(team.clone(), || bits(&spec));
            assert!(team::current().is_none());
            assert_eq!(together, alone, "{processes} processes: {settings}");
            let orders = Rc::into_inner(team).unwrap().end();
            assert_eq!(orders > 0, processes > 1);
        }
    }
}
