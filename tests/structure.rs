//! The order of the folders of `src`: nothing depends on what depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// All source files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|e| e == "rs") => found.push(path),
            false => {}
        }
    }
}

/// What a file says without comments and tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap().to_owned() + "\n").collect()
}

/// The first name of every path from the root of the crate.
fn named(code: &str) -> BTreeSet<String> {
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        // The first names of the branches of a `use`.
        let (mut depth, mut first) = (0, true);
        for (i, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => first = true,
                c if first && !c.is_whitespace() => {
                    found.insert(name(&list[i..]));
                    first = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// What each folder, or file at the root, of `src` names of the others.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if matches!(name, "lib" | "main") || name == "tests" || name.ends_with("_tests") {
            continue;
        }
        let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
        let folder = Path::new(first.as_os_str()).file_stem().unwrap().to_str().unwrap();
        let found = named(&code(&std::fs::read_to_string(&path).unwrap()));
        all.entry(folder.to_owned()).or_default().extend(found);
    }
    let folders: BTreeSet<String> = all.keys().cloned().collect();
    for (folder, others) in &mut all {
        others.retain(|other| other != folder && folders.contains(other));
    }
    all
}

/// Takes away what depends on nothing that is left, again and again: a circle stays.
fn circles(mut all: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let free: Vec<String> =
            all.iter().filter(|(_, others)| others.is_empty()).map(|(f, _)| f.clone()).collect();
        if free.is_empty() {
            return all;
        }
        all.retain(|folder, _| !free.contains(folder));
        all.values_mut().for_each(|others| others.retain(|other| !free.contains(other)));
    }
}

#[test]
fn no_folder_depends_on_what_depends_on_it() {
    let all = dependencies();
    // The reading sees what is there.
    for (folder, other) in [("cli", "run"), ("run", "store"), ("train", "objective")] {
        assert!(all[folder].contains(other), "{folder} does not name {other}");
    }
    assert!(!all["system"].contains("spec") && all.len() > 20);
    assert_eq!(circles(all), BTreeMap::new(), "these folders of src depend on each other");
}

#[test]
fn a_circle_is_found() {
    let code = code("use crate::{a::{b, c}, d};\nfn f(x: crate::e::G) {} // crate::h\n");
    assert_eq!(named(&code).into_iter().collect::<Vec<_>>(), ["a", "d", "e"]);
    let of = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect::<BTreeSet<String>>();
    let all = [("a", of(&["b"])), ("b", of(&["c"])), ("c", of(&["b", "d"])), ("d", of(&[]))];
    let found = circles(all.map(|(f, o)| (f.to_owned(), o)).into());
    assert!(found.contains_key("b") && found.contains_key("c") && !found.contains_key("d"));
}
