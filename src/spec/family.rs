//! Named parameters: a spec that is many specs, and the scan over them.
//!
//! `parameters: {"R": 1.6}` names numbers, in a spec or in a Hamiltonian file; those of the spec come first. A text where the
//! Hamiltonian or the geometry wants a number is a formula in them, and the formulas of potentials may use them as well.
//! All this happens in the text: what is read in the end has plain numbers, and a text without parameters is read as it is.

use super::ensemble::StatesSettings;
use super::error::{Problem, SpecError};
use super::expand::{Expanded, blank, substitute};
use super::locate::{self, Outline};
use super::read::{Source, dialect, explain, read_text};
use super::scan::{MOST_DEGREE, Method, Scan};
use super::table;
use super::validate::{self, Violation};
use super::{HamiltonianSource, ResolvedSpec, RunSpec};
use crate::contact;
use crate::nearest::{nearest, suggestion};
use crate::system::formula::may_name_a_parameter;
use crate::system::sector::COMPONENTS;
use crate::system::{Hamiltonian, Sector, System};
use crate::wavefunction::WavefunctionSettings;
use crate::wavefunction::sector_base::SectorBaseSettings;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Field of a spec and of a Hamiltonian file.
pub(super) const PARAMETERS: &str = "parameters";
/// Field of a spec.
pub(super) const SCAN: &str = "scan";
/// Field of a spec.
const SECTOR: &str = "sector";
/// Where formulas may be in a Hamiltonian file and in a spec.
const IN_HAMILTONIAN: [&str; 2] = ["external", "interaction"];
const IN_SPEC: [&str; 3] = ["hamiltonian.external", "hamiltonian.interaction", "geometry"];

/// Named numbers, in the order of the text.
pub type Parameters = Vec<(String, f64)>;

/// A text with the parameters that it declares.
#[derive(Clone, Debug)]
struct Text {
    path: PathBuf,
    text: String,
    declared: Parameters,
    /// The fields that the typed reader does not know.
    taken_out: Vec<Range<usize>>,
    /// What is in the place of the files of tables, and those files.
    tables: table::Inlined,
}

impl Text {
    fn new(text: String, path: &Path, fields: &[&str]) -> Result<Self, SpecError> {
        let outline = Outline::new(&text);
        let found: Vec<_> = fields.iter().filter_map(|f| outline.field(f)).collect();
        let taken_out = found.into_iter().map(|(whole, _)| whole).collect();
        let mut declared = Vec::new();
        if let Some((_, value)) = outline.field(PARAMETERS) {
            declared = part::<Pairs>(path, &text, value)?.0;
        }
        let tables = table::inlined(path, &text)?;
        let text = Text { path: path.to_owned(), text, declared, taken_out, tables };
        for (i, (name, value)) in text.declared.iter().enumerate() {
            let field = format!("{PARAMETERS}.{name}");
            let problem = if !may_name_a_parameter(name) {
                "the name of a parameter must be a letter and then letters, digits or `_`, and no name that formulas know"
            } else if !value.is_finite() {
                "must be finite"
            } else if text.declared[..i].iter().any(|(n, _)| n == name) {
                "is named twice"
            } else {
                continue;
            };
            return Err(text.at_parameter(name, field, Problem::Rule(problem.to_owned())));
        }
        Ok(text)
    }

    fn load(path: &Path, fields: &[&str]) -> Result<Self, SpecError> {
        Text::new(read_text(path)?, path, fields)
    }

    /// The text with the numbers of its tables in the place of their files.
    fn alone(&self) -> String {
        Expanded::new(&self.text, self.tables.0.clone()).text
    }

    /// An error at the last place where a parameter is declared, or at where they are.
    fn at_parameter(&self, name: &str, field: String, problem: Problem) -> SpecError {
        let all = Outline::new(&self.text).field(PARAMETERS).map_or(0..0, |(_, value)| value);
        let quoted = format!("{name:?}");
        let offset = self.text[all.clone()].rfind(&quoted).map_or(all.start, |i| all.start + i);
        SpecError::at(&self.path, &self.text, offset, field, problem)
    }

    /// Reads the text with values for the parameters; the names that it uses are added to `used`.
    fn read<T: serde::de::DeserializeOwned>(
        &self,
        roots: &[&str],
        parameters: &[(String, f64)],
        used: &mut Vec<String>,
    ) -> Result<Source<T>, SpecError> {
        let found = substitute(&self.text, roots, parameters).map_err(|(literal, error)| {
            let offset = locate::offset_in_string(&self.text, literal, error.column - 1);
            let field = Outline::new(&self.text).path_at(offset);
            let problem = Problem::Formula { column: error.column, problem: error.problem };
            SpecError::at(&self.path, &self.text, offset, field, problem)
        })?;
        used.extend(found.used);
        let mut changes = found.changes;
        let blanks = self.taken_out.iter().map(|r| (r.clone(), blank(&self.text[r.clone()])));
        changes.extend(blanks);
        changes.extend(components(&self.text));
        changes.extend(self.tables.0.iter().cloned());
        let expanded = Expanded::new(&self.text, changes);
        Source::parse_expanded(self.text.clone(), expanded, &self.path)
    }
}

/// Reads a part of a text, with errors at their places in the whole.
fn part<T: serde::de::DeserializeOwned>(
    path: &Path,
    text: &str,
    value: Range<usize>,
) -> Result<T, SpecError> {
    // Characters stay where they are, so that lines and columns do.
    let hidden =
        |s: &str| -> String { s.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect() };
    let alone = hidden(&text[..value.start]) + &text[value.clone()] + &hidden(&text[value.end..]);
    let whole = Expanded::new(text, Vec::new());
    dialect().from_str(&alone).map_err(|error| explain(path, text, &whole, error))
}

/// A map in the order of its text, with names that come twice.
struct Pairs(Parameters);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("names and numbers in braces, {\"R\": 1.6}")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A value for every parameter: those of the spec before those of the Hamiltonian file.
fn merged(first: &[(String, f64)], then: &[(String, f64)]) -> Parameters {
    let mut all = first.to_vec();
    all.extend(then.iter().filter(|(n, _)| !first.iter().any(|(m, _)| m == n)).cloned());
    all
}

/// A Hamiltonian file that may have named parameters.
#[derive(Clone, Debug)]
pub struct HamiltonianFamily {
    text: Text,
    parameters: Parameters,
}

impl HamiltonianFamily {
    /// Reads the parameters of a Hamiltonian file.
    ///
    /// # Errors
    ///
    /// [`SpecError`], pointing into the file.
    pub fn load(path: &Path) -> Result<Self, SpecError> {
        let text = Text::load(path, &[PARAMETERS])?;
        Ok(HamiltonianFamily { parameters: text.declared.clone(), text })
    }

    /// Gives a parameter another value.
    ///
    /// # Errors
    ///
    /// [`SpecError`]: there is no parameter of this name, or the value is not finite.
    pub fn set(&mut self, name: &str, value: f64) -> Result<(), SpecError> {
        set(&mut self.parameters, &self.text, name, value)
    }

    /// The Hamiltonian at the values of the parameters.
    ///
    /// # Errors
    ///
    /// [`SpecError`], pointing into the file.
    pub fn hamiltonian(&self) -> Result<Hamiltonian, SpecError> {
        let mut used = Vec::new();
        let source = self.read(&self.parameters, &mut used)?;
        all_used(&[&self.text], &used)?;
        Ok(source.value)
    }

    fn read(
        &self,
        parameters: &[(String, f64)],
        used: &mut Vec<String>,
    ) -> Result<Source<Hamiltonian>, SpecError> {
        let source: Source<Hamiltonian> = self.text.read(&IN_HAMILTONIAN, parameters, used)?;
        validate::hamiltonian(&source.value).map_err(|v| source.locate("", v))?;
        Ok(source)
    }
}

fn set(parameters: &mut Parameters, text: &Text, name: &str, value: f64) -> Result<(), SpecError> {
    let names: Vec<&str> = parameters.iter().map(|(n, _)| n.as_str()).collect();
    if names.is_empty() {
        let message = format!("there are no `parameters`, so that `{name}` cannot be set");
        return Err(text.at_parameter(name, String::new(), Problem::Rule(message)));
    }
    if !names.contains(&name) {
        let message = unknown(name, &names);
        return Err(text.at_parameter(name, PARAMETERS.to_owned(), Problem::Rule(message)));
    }
    if !value.is_finite() {
        let problem = Problem::bound("must be finite", value);
        return Err(text.at_parameter(name, format!("{PARAMETERS}.{name}"), problem));
    }
    parameters.iter_mut().filter(|(n, _)| n == name).for_each(|(_, v)| *v = value);
    Ok(())
}

fn unknown(name: &str, names: &[&str]) -> String {
    let listed: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    let hint = suggestion(nearest(name, names.iter().copied()));
    format!("unknown parameter `{name}`{hint}; the parameters here are {}", listed.join(", "))
}

/// A parameter that nothing depends on is a slip of the pen.
fn all_used(texts: &[&Text], used: &[String]) -> Result<(), SpecError> {
    for text in texts {
        if let Some((name, _)) = text.declared.iter().find(|(n, _)| !used.contains(n)) {
            let message = "no formula of the Hamiltonian or the geometry uses this parameter";
            let field = format!("{PARAMETERS}.{name}");
            return Err(text.at_parameter(name, field, Problem::Rule(message.to_owned())));
        }
    }
    Ok(())
}

/// A spec that may have named parameters and a scan.
#[derive(Clone, Debug)]
pub struct Family {
    text: Text,
    file: Option<HamiltonianFamily>,
    parameters: Parameters,
    scan: Vec<Scan>,
}

impl Family {
    /// The texts that it was read from, which depend on no further file: the spec and, where that names one with parameters, the
    /// Hamiltonian file.
    pub fn texts(&self) -> Vec<String> {
        let file = self.file.as_ref().map(|f| f.text.alone());
        [self.text.alone()].into_iter().chain(file).collect()
    }

    /// Reads what a spec file has of parameters and scan.
    ///
    /// # Errors
    ///
    /// [`SpecError`], pointing into the file or the Hamiltonian file.
    pub fn load(path: &Path) -> Result<Self, SpecError> {
        Self::of(Text::load(path, &[PARAMETERS, SCAN])?)
    }

    /// The same of a text; see [`parse`](super::read::parse).
    ///
    /// # Errors
    ///
    /// [`SpecError`], pointing into the text or the Hamiltonian file.
    pub fn parse(text: &str, path: &Path) -> Result<Self, SpecError> {
        Self::of(Text::new(text.to_owned(), path, &[PARAMETERS, SCAN])?)
    }

    fn of(text: Text) -> Result<Self, SpecError> {
        let named = named_file(&text);
        let file = match named.map(|name| HamiltonianFamily::load(&name)) {
            // Why the file cannot be read is for the spec to say, once the rest of it is found good.
            None | Some(Err(SpecError::File { .. })) => None,
            Some(Ok(file)) => Some(file),
            Some(Err(other)) => return Err(other),
        };
        let of_file = file.as_ref().map_or(&[][..], |f| &f.parameters);
        let parameters = merged(&text.declared, of_file);
        let scan = scan_of(&text, &parameters)?;
        Ok(Family { text, file, parameters, scan })
    }

    /// The family of such texts and values of the parameters. There is no other file that it depends on.
    ///
    /// # Errors
    ///
    /// [`SpecError`], pointing into one of the texts.
    pub fn from_texts(
        texts: &[String],
        path: &Path,
        parameters: &[(String, f64)],
    ) -> Result<Self, SpecError> {
        let [text, rest @ ..] = texts else { return Self::parse("", path) };
        let text = Text::new(text.clone(), path, &[PARAMETERS, SCAN])?;
        let file = match rest {
            [] => None,
            [file, ..] => {
                let name = named_file(&text).unwrap_or_else(|| path.to_owned());
                let text = Text::new(file.clone(), &name, &[PARAMETERS])?;
                Some(HamiltonianFamily { parameters: text.declared.clone(), text })
            }
        };
        let scan = scan_of(&text, parameters)?;
        Ok(Family { text, file, parameters: parameters.to_vec(), scan })
    }

    /// The parameters and their values.
    pub fn parameters(&self) -> &[(String, f64)] {
        &self.parameters
    }

    /// What the spec scans; empty where it is a single run.
    pub fn scan(&self) -> &[Scan] {
        &self.scan
    }

    /// The Hamiltonian file that the spec names.
    pub fn hamiltonian_file(&self) -> Option<PathBuf> {
        named_file(&self.text)
    }

    /// The files of tables that spec and Hamiltonian file name.
    pub fn table_files(&self) -> Vec<PathBuf> {
        let of_file = self.file.iter().flat_map(|f| &f.text.tables.1);
        self.text.tables.1.iter().chain(of_file).cloned().collect()
    }

    /// Gives a parameter another value.
    ///
    /// # Errors
    ///
    /// [`SpecError`]: there is no parameter of this name, or the value is not finite.
    pub fn set(&mut self, name: &str, value: f64) -> Result<(), SpecError> {
        set(&mut self.parameters, &self.text, name, value)
    }

    /// The same family with other values.
    ///
    /// # Errors
    ///
    /// As [`Family::set`].
    pub fn at(&self, values: &[(String, f64)]) -> Result<Self, SpecError> {
        let mut family = self.clone();
        values.iter().try_for_each(|(name, value)| family.set(name, *value))?;
        Ok(family)
    }

    /// The spec at the values of the parameters, with all bounds checked: plain numbers that depend on no other file.
    ///
    /// # Errors
    ///
    /// [`SpecError`], pointing into the text or into the Hamiltonian file.
    pub fn spec(&self) -> Result<ResolvedSpec, SpecError> {
        self.resolve(|_, _| Ok(()))
    }

    /// [`Family::spec`] of a wavefunction that is to be trained: what only the exact solver can do is refused as well.
    ///
    /// # Errors
    ///
    /// As [`Family::spec`].
    pub fn spec_to_train(&self) -> Result<ResolvedSpec, SpecError> {
        self.resolve(validate::trainable)
    }

    fn resolve(
        &self,
        check: impl Fn(&Hamiltonian, Sector) -> Result<(), Violation>,
    ) -> Result<ResolvedSpec, SpecError> {
        let mut used = Vec::new();
        let spec: Source<RunSpec> = self.text.read(&IN_SPEC, &self.parameters, &mut used)?;
        validate::run(&spec.value).map_err(|v| spec.locate("", v))?;
        let (geometry, sector) = (spec.value.geometry, spec.value.sector);
        let hamiltonian = match &spec.value.hamiltonian {
            HamiltonianSource::Inline(hamiltonian) => {
                let locate = |v| spec.locate("hamiltonian.", v);
                validate::hamiltonian(hamiltonian).map_err(locate)?;
                validate::hamiltonian_in(hamiltonian, &geometry).map_err(locate)?;
                validate::ground_state(hamiltonian, &geometry, sector).map_err(locate)?;
                validate::contact_in(hamiltonian, &geometry, sector).map_err(locate)?;
                check(hamiltonian, sector).map_err(locate)?;
                hamiltonian.clone()
            }
            HamiltonianSource::File(name) => {
                let file = self.text.path.parent().unwrap_or(Path::new("")).join(name);
                let unreadable = |e| match e {
                    // That the file cannot be read is for the spec to mend; what is in it, is not.
                    SpecError::File { path, problem } => spec
                        .error_at_string("hamiltonian", Problem::HamiltonianFile { path, problem }),
                    other => other,
                };
                let source = match &self.file {
                    Some(file) => file.clone(),
                    None => HamiltonianFamily::load(&file).map_err(unreadable)?,
                };
                let source = source.read(&self.parameters, &mut used)?;
                validate::hamiltonian_in(&source.value, &geometry)
                    .and_then(|()| validate::ground_state(&source.value, &geometry, sector))
                    .and_then(|()| validate::contact_in(&source.value, &geometry, sector))
                    .and_then(|()| check(&source.value, sector))
                    .map_err(|v| source.locate("", v))?;
                source.value
            }
        };
        let texts = [Some(&self.text), self.file.as_ref().map(|f| &f.text)];
        all_used(&texts.into_iter().flatten().collect::<Vec<_>>(), &used)?;
        let mut spec = spec;
        let chosen = Outline::new(&self.text.text).has_field("wavefunction");
        let gas = contact::Gas::new(&hamiltonian, &geometry, sector);
        let possible = hamiltonian.interaction.contact() != 0.0 || gas.is_ok();
        if contact::matters(&hamiltonian, sector) && possible && !chosen {
            let settings = SectorBaseSettings::default();
            spec.value.wavefunction = WavefunctionSettings::SectorBase(settings);
            validate::refinable(spec.value.refinements, &spec.value.wavefunction)
                .map_err(|v| spec.locate("", v))?;
        }
        validate::contact_by(&spec.value.wavefunction, &hamiltonian, &geometry, sector)
            .map_err(|v| spec.locate("", v))?;
        let resolved = spec.value.clone().with_hamiltonian(hamiltonian);
        validate::ensemble(&resolved)
            .and_then(|()| validate::projection(&resolved))
            .map_err(|v| spec.locate("", v))?;
        let mut resolved = resolved;
        resolved
            .wavefunction
            .complete(sector, System { hamiltonian: &resolved.hamiltonian, geometry: &geometry });
        resolved.optimiser.complete(&resolved.wavefunction);
        Ok(resolved)
    }
}

/// The choice `Components(` of a spec's sector as the field that its reader knows.
fn components(text: &str) -> Option<(Range<usize>, String)> {
    let (_, value) = Outline::new(text).field(SECTOR)?;
    let rest = text[value.clone()].strip_prefix(COMPONENTS)?;
    let list = rest.trim_start().strip_prefix('(')?;
    Some((value.start..value.end - list.len(), format!("({COMPONENTS}: ")))
}

/// The Hamiltonian file that a spec names, by its text.
fn named_file(text: &Text) -> Option<PathBuf> {
    let literal = Outline::new(&text.text).string_in("hamiltonian", "File")?;
    let name: String = ron::from_str(&text.text[literal]).ok()?;
    Some(text.path.parent().unwrap_or(Path::new("")).join(name))
}

/// Reads and checks the scan of a spec.
fn scan_of(text: &Text, parameters: &[(String, f64)]) -> Result<Vec<Scan>, SpecError> {
    let outline = Outline::new(&text.text);
    let Some((_, value)) = outline.field(SCAN) else { return Ok(Vec::new()) };
    let many = text.text[value.clone()].starts_with('[');
    let scans: Vec<Scan> = match many {
        true => part(&text.path, &text.text, value)?,
        false => vec![part(&text.path, &text.text, value)?],
    };
    let error = |field: String, problem| {
        SpecError::at(&text.path, &text.text, outline.find(&field), field, problem)
    };
    let rule = |field: String, message: String| Err(error(field, Problem::Rule(message)));
    if scans.is_empty() || scans.len() > 2 {
        return rule(SCAN.to_owned(), "a scan has one or two parameters".to_owned());
    }
    let names: Vec<&str> = parameters.iter().map(|(n, _)| n.as_str()).collect();
    for (i, scan) in scans.iter().enumerate() {
        let of = |field: &str| {
            if many { format!("{SCAN}[{i}]{field}") } else { format!("{SCAN}{field}") }
        };
        let name = scan.parameter.as_str();
        if names.is_empty() {
            // A misspelt `parameters` is the better news.
            if let Err(SpecError::Text(error)) =
                text.read::<RunSpec>(&IN_SPEC, &[], &mut Vec::new())
                && matches!(error.problem, Problem::UnknownField { .. } | Problem::Rule(_))
            {
                return Err(SpecError::Text(error));
            }
            let message =
                "there are no `parameters` to scan: name some, as in `parameters: {\"R\": 1.6}`";
            return rule(of(".parameter"), message.to_owned());
        }
        if !names.contains(&name) {
            return rule(of(".parameter"), unknown(name, &names));
        }
        if let Some((field, bound, found)) = scan.values.wrong() {
            return Err(error(of(&format!(".values{field}")), Problem::bound(bound, found)));
        }
        if let Method::Conditional { degree } = scan.method {
            if !(1..=MOST_DEGREE).contains(&degree) {
                let bound = format!("must be between 1 and {MOST_DEGREE}");
                return Err(error(of(".method.degree"), Problem::bound(bound, degree)));
            }
            if scans.len() > 1 {
                let message = "`Conditional` is for scans of one parameter";
                return rule(of(".method"), message.to_owned());
            }
            // What is wrong with these fields themselves is said where the spec is read.
            let states = outline.field("states");
            let states =
                states.and_then(|(_, v)| part::<StatesSettings>(&text.path, &text.text, v).ok());
            if states.is_some_and(|s| s.count > 1) || outline.field("temperature").is_some() {
                let message = "`Conditional` is for ground states: with `states` or a `temperature` use `Continuation` or `Independent`";
                return rule(of(".method"), message.to_owned());
            }
            if scan.values.count() < 2 {
                let message = "`Conditional` is for two and more values";
                return rule(of(".values"), message.to_owned());
            }
        }
        if scans[..i].iter().any(|s| s.parameter == name) {
            return rule(of(".parameter"), format!("`{name}` is scanned twice"));
        }
        if scans[..i].iter().any(|s| s.method != scan.method) {
            return rule(
                of(".method"),
                "both parameters are scanned by the same method".to_owned(),
            );
        }
    }
    Ok(scans)
}

#[cfg(test)]
mod tests;
