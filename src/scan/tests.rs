use super::*;
use crate::report::curve::to_csv;

/// Three points of which the last has no ground state.
const SPEC: &str = r#"(
    title: "two in a trap", parameters: {"k": 1.0},
    hamiltonian: Inline(external: Formula("k*x^2/2"), interaction: SoftCoulomb()),
    sector: (up: 2), geometry: Line,
    wavefunction: Weyl(base: MeanField(orbitals: HartreeFock)),
    iterations: 2, samples_per_iteration: 256, final_samples: 1024, scramblings: 4, reference: None,
    scan: (parameter: "k", values: List([1, 1.5, -1])),
)"#;

fn scan(text: &str) -> Scan {
    Scan::new(Family::parse(text, Path::new("trap.ron")).unwrap()).unwrap()
}

fn place(folder: &Path, existing: Existing) -> InScanFolder {
    InScanFolder { place: InFolder { existing, ..InFolder::new(folder) }, only: None }
}

/// The table without the seconds.
fn table(results: &[PointResult]) -> String {
    let text = to_csv(results, &["k"]);
    text.lines().map(|l| l.rsplit_once(',').unwrap().0.to_owned() + "\n").collect()
}

#[derive(Default)]
struct Words {
    heard: Vec<String>,
    /// Ends the run at so many iterations in all.
    stop_at: Option<usize>,
    /// Iterations, or messages that begin so, where that is not empty.
    iterations: usize,
    counts_messages_with: &'static str,
}

impl Observer for Words {
    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Message(text) => {
                let counts = !self.counts_messages_with.is_empty();
                self.iterations +=
                    usize::from(counts && text.starts_with(self.counts_messages_with));
                self.heard.push(text.to_owned());
            }
            Event::Iteration(..) if self.counts_messages_with.is_empty() => self.iterations += 1,
            _ => {}
        }
    }

    fn stops(&self) -> bool {
        self.stop_at.is_some_and(|at| self.iterations >= at)
    }
}

#[test]
fn a_failing_point_leaves_the_others_and_any_number_of_threads_gives_the_same_bytes() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let scan = scan(SPEC);
    let run = |folder: &Path, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let asked = place(folder, Existing::Refuse);
        pool.install(|| {
            let mut words = Words::default();
            let results = scan.in_folder(&asked, &|_| {}, &mut words).unwrap();
            (results, words.heard)
        })
    };
    let (results, heard) = run(&folders[0].path().join("a"), 1);
    assert_eq!(results.len(), 3);
    assert_eq!(worst(&results), Worst::Failed);
    assert!(worst(&results[..2]) < Worst::Failed);
    let why = results[2].result.as_ref().unwrap_err();
    assert!(why.contains("trap.ron:3:"), "{why}");
    assert!(
        heard.iter().any(|h| h.contains("from the state of point 1") || h.contains("from point 1"))
    );
    // dE/dk = <x²>/2 for both, and the curve rises with a falling slope.
    let of = |i: usize| {
        let measured = results[i].measured().unwrap();
        (measured.summary.energy, measured.slopes[0].unwrap())
    };
    let ((low, steep), (high, flat)) = (of(0), of(1));
    let mean = (high - low) / 0.5;
    assert!(flat.electronic < mean && mean < steep.electronic, "{flat:?} {mean} {steep:?}");
    let text = table(&results);
    assert!(text.starts_with("k,energy,standard_error,variance,reference,deviation,derivative,"));
    assert!(text.lines().nth(3).unwrap().starts_with("-1.0,,,,,,,,,,,,,failed"), "{text}");
    let (again, _) = run(&folders[1].path().join("b"), 3);
    assert_eq!(table(&again), text);
}

#[test]
fn a_scan_that_was_ended_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let text = SPEC.replace("List([1, 1.5, -1])", "Geometric(from: 1, to: 4, points: 2)");
    let scan = scan(&text);
    let whole = folder.path().join("whole");
    let results = scan.in_folder(&place(&whole, Existing::Refuse), &|_| {}, &mut ()).unwrap();
    let part = folder.path().join("part");
    let mut words = Words { stop_at: Some(3), ..Words::default() };
    let ended = scan.in_folder(&place(&part, Existing::Refuse), &|_| {}, &mut words);
    assert!(
        matches!(ended, Err(ScanError::Interrupted { number: 2, .. })),
        "{:?}",
        ended.map(|r| r.len())
    );
    assert!(scan.in_folder(&place(&part, Existing::Refuse), &|_| {}, &mut ()).is_err());
    let again = scan.in_folder(&place(&part, Existing::Keep), &|_| {}, &mut ()).unwrap();
    assert_eq!(table(&again), table(&results));
    // Once more: nothing is left to do, and one point by itself keeps the other in the table.
    let mut words = Words::default();
    let mut only = place(&part, Existing::Keep);
    only.only = Some(2..=2);
    let again = scan.in_folder(&only, &|_| {}, &mut words).unwrap();
    assert_eq!((table(&again), words.iterations), (table(&results), 0));
    only.only = Some(2..=3);
    let error = scan.in_folder(&only, &|_| {}, &mut ()).unwrap_err();
    assert!(matches!(error, ScanError::Only { count: 2, asked: 3 }));
    // Another scan does not go on in this folder.
    let other = self::scan(&text.replace("to: 4", "to: 5"));
    let error = other.in_folder(&place(&part, Existing::Keep), &|_| {}, &mut ()).unwrap_err();
    assert!(matches!(error, ScanError::Other { .. }), "{error}");
}

#[test]
fn two_parameters_make_a_grid() {
    let text = SPEC.replace("k*x^2/2", "k*x^2/2 + q*x^4").replace("{\"k\": 1.0}", "{\"k\": 1.0, \"q\": 0}").replace(
        "(parameter: \"k\", values: List([1, 1.5, -1]))",
        "[(parameter: \"k\", values: List([1, 2])), (parameter: \"q\", values: List([0, 1, 3]))]",
    );
    let scan = scan(&text);
    assert_eq!(scan.points().len(), 6);
    assert_eq!(scan.points()[4].words(), "k = 2, q = 1");
    let before: Vec<_> = scan.points().iter().map(|p| p.before).collect();
    assert_eq!(before, [None, Some(0), Some(1), Some(0), Some(3), Some(4)]);
    let spec = scan.spec_at(&scan.points()[4]).unwrap();
    assert_eq!(spec.title, "two in a trap, k = 2, q = 1");
    assert_eq!(spec.hamiltonian.external.value(1.0), 2.0);
}

/// Points of a trap whose base is far from exact, so that what is trained shows, and one without a ground state.
const CONDITIONAL: &str = r#"(
    title: "two in a trap", parameters: {"k": 1.0},
    hamiltonian: Inline(external: Formula("k*x^2/2"), interaction: SoftCoulomb(strength: 3)),
    sector: (up: 2), geometry: Line,
    wavefunction: Weyl(base: MeanField(orbitals: NonInteracting), layers: [Pair, PairInverse], pair_cells: 8),
    iterations: 4, samples_per_iteration: 512, final_samples: 2048, scramblings: 4, reference: None,
    scan: (parameter: "k", values: List([1, 1.5, 4, 2.5, -1, 3]), method: Conditional(degree: 2)),
)"#;

#[test]
fn one_training_serves_values_that_it_never_saw() {
    let folder = tempfile::tempdir().unwrap();
    let scan = scan(CONDITIONAL);
    let run = |name: &str, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let asked = place(&folder.path().join(name), Existing::Refuse);
        pool.install(|| scan.in_folder(&asked, &|_| {}, &mut ()).unwrap())
    };
    let results = run("a", 1);
    let trained: Vec<_> = results.iter().map(|r| r.measured().map(|m| m.trained)).collect();
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(trained, [yes, no, yes, yes, None, no]);
    for result in results.iter().filter(|r| r.result.is_ok()) {
        // The base alone, and what the series makes of it.
        let mut spec = scan.spec_at(&result.point).unwrap();
        spec.iterations = 0;
        let base = Run::new(spec).unwrap().train(()).unwrap().estimate().unwrap().summary;
        let found = &result.measured().unwrap().summary;
        let bar = base.standard_error.hypot(found.standard_error);
        assert!(found.energy < base.energy - 5.0 * bar, "{} {}", found.energy, base.energy);
        assert!(found.variance < 0.2 * base.variance, "{} {}", found.variance, base.variance);
        let norm = found.health.quadrature.as_ref().unwrap().norm;
        assert!((norm - 1.0).abs() < 1e-6, "{norm}");
    }
    assert_eq!(table(&run("b", 3)), table(&results));

    // Ended in the middle of the training, and again at a point: the same bytes.
    let part = folder.path().join("part");
    let mut words =
        Words { stop_at: Some(2), counts_messages_with: "iteration", ..Words::default() };
    let ended = scan.in_folder(&place(&part, Existing::Refuse), &|_| {}, &mut words);
    assert!(matches!(ended, Err(ScanError::InterruptedTraining)));
    let mut words = Words { stop_at: Some(2), counts_messages_with: "point", ..Words::default() };
    let ended = scan.in_folder(&place(&part, Existing::Keep), &|_| {}, &mut words);
    assert!(matches!(ended, Err(ScanError::Interrupted { number: 2, .. })));
    let mut words = Words { counts_messages_with: "iteration", ..Words::default() };
    let again = scan.in_folder(&place(&part, Existing::Keep), &|_| {}, &mut words).unwrap();
    assert_eq!((table(&again), words.iterations), (table(&results), 0));

    // Anywhere in the range, and at a point what the point has.
    let whole = folder.path().join("a");
    let at =
        |k: f64| Scan::read(&whole).unwrap().elsewhere(&whole, &[("k".to_owned(), k)], &mut ());
    let (here, there) = (at(1.5).unwrap(), at(2.0).unwrap());
    let point = results[1].measured().unwrap();
    assert_eq!((here.summary.energy, here.slopes[0]), (point.summary.energy, point.slopes[0]));
    assert!(here.from.contains("never trained") && at(4.0).unwrap().from.contains("trained at"));
    let next = results[3].measured().unwrap().summary.energy;
    assert!(point.summary.energy < there.summary.energy && there.summary.energy < next);
    for k in [0.5, 4.5] {
        let error = at(k).unwrap_err().to_string();
        assert!(error.contains(&format!("k = {k}")) && error.contains("from 1 to 4"), "{error}");
    }
}

#[test]
fn a_scan_of_single_points_lends_its_states() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("scan");
    let scan = scan(&SPEC.replace("[1, 1.5, -1]", "[1, 4]"));
    scan.in_folder(&place(&folder, Existing::Refuse), &|_| {}, &mut ()).unwrap();
    let again = Scan::read(&folder).unwrap();
    let at = |values: &[(&str, f64)]| {
        let values: Vec<_> = values.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
        again.elsewhere(&folder, &values, &mut ())
    };
    let found = at(&[("k", 3.5)]).unwrap();
    assert!(found.from.contains("the nearest point, k = 4"), "{}", found.from);
    assert!(matches!(at(&[("k", 0.5)]), Err(ElsewhereError::Outside { low: 1.0, high: 4.0, .. })));
    for values in [&[][..], &[("q", 2.0)], &[("k", 2.0), ("k", 3.0)]] {
        assert!(matches!(at(values), Err(ElsewhereError::Parameters { .. })), "{values:?}");
    }
    let none = Scan::read(&folder.join("points")).map(|_| ()).unwrap_err();
    assert!(none.to_string().contains("is not the folder of a scan"), "{none}");
}

/// A state with a cusp has no layers, and none of it has anything in common with one that has.
#[test]
fn one_training_is_of_one_kind_of_state() {
    let text = r#"(
        title: "t", parameters: {"g": 1.0}, sector: (up: 1, down: 1), geometry: Line,
        hamiltonian: Inline(external: Harmonic(), interaction: Contact(strength: "g")),
        scan: (parameter: "g", values: List([0, 1, 2]), method: Conditional(degree: 2)),
    )"#;
    let folder = tempfile::tempdir().unwrap();
    let asked = place(&folder.path().join("scan"), Existing::Refuse);
    let ended = scan(text).in_folder(&asked, &|_| {}, &mut ());
    assert!(matches!(ended, Err(ScanError::Parameters)), "{:?}", ended.map(|r| r.len()));
}

/// Harmonium: levels and partition function are those of two oscillators.
#[test]
fn levels_and_free_energies_make_curves() {
    let of = |more: &str| {
        scan(&format!(
            r#"(
            title: "two in a trap", parameters: {{"w": 1.0}},
            hamiltonian: Inline(external: Harmonic(frequency: "w"), interaction: Harmonic(stiffness: 0.1)),
            sector: (up: 2), geometry: Line, wavefunction: Weyl(layers: [Pair]),
            iterations: 2, samples_per_iteration: 256, final_samples: 1024, scramblings: 4, reference: None, {more}
            scan: (parameter: "w", values: List([1, -1, 1.5])),
        )"#
        ))
    };
    let folder = tempfile::tempdir().unwrap();
    let run = |scan: &Scan, name: &str, existing: Existing, threads: usize, words: &mut Words| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let asked = place(&folder.path().join(name), existing);
        pool.install(|| scan.ensembles_in_folder(&asked, &|_| {}, words))
    };
    let table = |results: &[PointResult<crate::store::ensemble::EnsembleSummary>]| -> String {
        let text = crate::report::levels::to_csv(results, &["w"]);
        text.lines().map(|l| l.rsplit_once(',').unwrap().0.to_owned() + "\n").collect()
    };
    let states = of("states: (count: 2),");
    let mut words = Words::default();
    let results = run(&states, "a", Existing::Refuse, 1, &mut words).unwrap();
    assert_eq!(worst(&results), Worst::Failed);
    assert!(words.heard.iter().any(|h| h.contains("with the state of point 1 as a start")));
    // Centre of mass and distance, and a quantum of the centre of mass above.
    let text = table(&results);
    let rows: Vec<Vec<&str>> = text.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(rows[0][..4], ["w", "state", "energy", "standard_error"]);
    assert_eq!(
        (rows.len(), rows[3][..3].to_vec(), rows[3][11]),
        (6, vec!["-1.0", "", ""], "failed")
    );
    let number = |text: &str| text.parse::<f64>().unwrap();
    for (row, (w, level)) in [(1, (1.0, 0.0)), (2, (1.0, 1.0)), (4, (1.5, 0.0)), (5, (1.5, 1.0))] {
        let row: &[&str] = &rows[row];
        let exact = |w: f64| 0.5 * w + 1.5 * (w * w + 0.2_f64).sqrt() + level * w;
        let (energy, error) = (number(row[2]), number(row[3]));
        assert!((energy - exact(w)).abs() < 4.0 * error + 1e-4, "{row:?} {}", exact(w));
        assert_eq!((number(row[0]), number(row[1])), (w, level));
    }
    // Ended at the last point (what is exact takes one iteration), and by other threads: the same bytes.
    let mut words = Words { stop_at: Some(2), ..Words::default() };
    let ended = run(&states, "b", Existing::Refuse, 2, &mut words);
    assert!(
        matches!(ended, Err(ScanError::Interrupted { number: 3, .. })),
        "{:?}",
        ended.map(|r| r.len())
    );
    let again = run(&states, "b", Existing::Keep, 2, &mut Words::default()).unwrap();
    assert_eq!(table(&again), text);
    let page = crate::report::levels::render("t", &results, &["w"]);
    for words in ["id=\"curve\"", "id=\"gaps\"", "points/01/report.html", "failed: trap.ron:"] {
        assert!(page.contains(words), "{words}");
    }

    let thermal = of("temperature: (kT: Range(from: 0.5, to: 1, points: 2)),");
    let results = run(&thermal, "c", Existing::Refuse, 2, &mut Words::default()).unwrap();
    let text = table(&results);
    let rows: Vec<Vec<&str>> = text.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(rows[0][..3], ["w", "kT", "free_energy"]);
    assert_eq!(rows.len(), 6);
    for row in [&rows[1], &rows[2], &rows[4], &rows[5]] {
        let (w, kt, found) = (number(row[0]), number(row[1]), number(row[2]));
        // A centre of mass, and the odd states of the distance.
        let z = |w: f64, first: f64, step: f64| {
            (-first * w / kt).exp() / (1.0 - (-step * w / kt).exp())
        };
        let exact = -kt * (z(w, 0.5, 1.0) * z((w * w + 0.2).sqrt(), 1.5, 2.0)).ln();
        assert!((found - exact).abs() < 4.0 * number(row[3]) + 1e-3, "{row:?} {exact}");
    }
    let page = crate::report::levels::render("t", &results, &["w"]);
    for words in ["id=\"free-energy\"", "id=\"entropy\"", "id=\"heat-capacity\"", "kT = 0.5"] {
        assert!(page.contains(words), "{words}");
    }
    let whole = folder.path().join("c");
    let at = thermal.elsewhere(&whole, &[("w".to_owned(), 1.2)], &mut ());
    assert!(matches!(at, Err(ElsewhereError::Several { .. })));
}
