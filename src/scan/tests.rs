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
    iterations: usize,
}

impl Observer for Words {
    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Message(text) => self.heard.push(text.to_owned()),
            Event::Iteration(..) => self.iterations += 1,
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
    assert!(text.lines().nth(3).unwrap().starts_with("-1.0,,,,,,,,,,,,failed"), "{text}");
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
