//! What a run left behind, for people: the HTML report, figures, numbers, words.

pub mod compare;
pub mod curve;
mod densities;
pub mod describe;
pub mod ensemble;
pub mod escape;
mod folder;
pub mod html;
pub mod levels;
pub mod links;
pub mod number;
pub mod svg;
pub mod verdict;
