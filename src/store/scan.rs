//! What a scan leaves: its points, and what came of them.

use super::ensemble::EnsembleSummary;
use super::record::Summary;
use crate::estimate::Verdict;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Files and folders of a scan.
pub mod files {
    /// The table of all points.
    pub const CURVE: &str = "curve.csv";
    /// The page about them.
    pub const REPORT: &str = "report.html";
    /// The folders of the points.
    pub const POINTS: &str = "points";
    /// What the scan was asked for.
    pub const SCAN: &str = super::super::files::names::SCAN;
    /// Where its one training stands, and what came of it.
    pub const SERIES: &str = "series.json";
}

/// A point of a scan.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Number of the point, from 0.
    pub index: usize,
    /// Values of the scanned parameters.
    pub values: Vec<(String, f64)>,
    /// The point whose state it starts from.
    pub(crate) before: Option<usize>,
}

impl Point {
    /// The values in words: `R = 1.5`.
    pub fn words(&self) -> String {
        let words: Vec<String> = self.values.iter().map(|(n, v)| format!("{n} = {v}")).collect();
        words.join(", ")
    }
}

/// What came of a point: of a ground state, or (with [`EnsembleSummary`]) of several states or a temperature.
#[derive(Clone, Debug)]
pub struct PointResult<M = Measured> {
    /// The point.
    pub point: Point,
    /// Its folder.
    pub folder: PathBuf,
    /// The results, or why there are none.
    pub result: Result<M, String>,
}

impl<M> PointResult<M> {
    /// The results, where there are any.
    pub fn measured(&self) -> Option<&M> {
        self.result.as_ref().ok()
    }
}

/// What has a verdict.
pub trait Judged {
    /// The verdict, where there is one.
    fn verdict(&self) -> Option<Verdict>;
}

impl Judged for Measured {
    fn verdict(&self) -> Option<Verdict> {
        self.summary.verdict
    }
}

impl Judged for EnsembleSummary {
    fn verdict(&self) -> Option<Verdict> {
        Some(self.verdict)
    }
}

/// The results of a point.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The numbers of its `summary.json`.
    pub summary: Summary,
    /// Slope of the energy with respect to each scanned parameter.
    pub slopes: Vec<Option<Slope>>,
    /// Whether its state was trained on samples of its own: not where a series was trained at other values.
    pub trained: bool,
}

/// A derivative with respect to a named parameter, in Hartree per unit of the parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    /// Derivative of the electronic energy.
    pub electronic: f64,
    /// Its standard error, with what the error of the state is expected to add.
    pub standard_error: f64,
    /// Derivative of the repulsion of the nuclei.
    pub repulsion: f64,
    /// The electronic one of the exact state, where its densities say it: `<dV/dp>` is a sum over these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<f64>,
}
