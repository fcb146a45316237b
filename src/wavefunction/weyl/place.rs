//! Where the base of a system lives: its units, and the walls between which its orbitals are found.
//!
//! Orbitals are found in the units of the system; as functions of an angle they have none.

use super::super::WavefunctionError;
use super::base::BaseKind;
use super::base::calogero::half_extent;
use super::base::mean_field::line_half_width;
use crate::system::landscape::Landscape;
use crate::system::{External, Frame, Geometry, Sector, System};

/// The units of a system and the walls, in them, between which its base lives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// The units.
    pub frame: Frame,
    /// The walls, or the ring, in these units.
    pub walls: Geometry,
    /// Whether the walls are those of a computational box.
    pub on_line: bool,
}

impl Place {
    /// The place of a base. On the line, and between walls too far out to matter, the walls are those of a computational box.
    ///
    /// # Errors
    /// [`WavefunctionError::Unbound`] on the line where no box is wide enough, and what a mean field may meet.
    pub(crate) fn of(
        base: &dyn BaseKind,
        sector: Sector,
        system: System,
    ) -> Result<Self, WavefunctionError> {
        let System { hamiltonian, geometry } = system;
        let mut landscape = Landscape::of(hamiltonian, geometry, sector);
        if landscape.free {
            let frame = Frame::of(&landscape);
            let place = |x: f64| (x - frame.origin) / frame.length;
            let region = (place(landscape.region.0), place(landscape.region.1));
            let most = match geometry {
                Geometry::Box { half_width } => (half_width - frame.origin.abs()) / frame.length,
                _ => f64::INFINITY,
            };
            let natural = frame.hamiltonian(hamiltonian);
            let found = match natural.external {
                External::Harmonic { frequency } if base.places_itself() => {
                    Ok(half_extent(1, 0.0, frequency))
                }
                _ => {
                    let orbitals = base.orbitals(hamiltonian);
                    line_half_width(orbitals, sector, &natural, region, most)
                }
            };
            match (found, geometry) {
                (Ok(half_width), _) => return Ok(Self::on_line(frame, half_width)),
                (Err(WavefunctionError::Unbound { most }), Geometry::Line) => {
                    return Err(WavefunctionError::Unbound { most: most * frame.length });
                }
                (Err(WavefunctionError::Unbound { .. }), _) => landscape.free = false,
                (Err(e), _) => return Err(e),
            }
        }
        let frame = Frame::of(&landscape);
        Ok(Place { frame, walls: frame.geometry(geometry), on_line: false })
    }

    /// A computational box of a half-width in the units of `frame`.
    pub fn on_line(frame: Frame, half_width: f64) -> Self {
        Place { frame, walls: Geometry::Box { half_width }, on_line: true }
    }
}
