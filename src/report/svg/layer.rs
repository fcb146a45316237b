//! Layers: what a figure draws, in which colour, on which axis.

use super::axis::{Scale, shows};

/// A colour of the palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// For what the figure is about.
    Blue,
    /// For what it is compared with.
    Vermillion,
    /// A third curve.
    Green,
    /// A fourth curve.
    Purple,
    /// For what stands in the background.
    Grey,
    /// The colour of text, for a thin line on top of others.
    Ink,
}

impl Colour {
    pub(super) fn class(self) -> &'static str {
        match self {
            Colour::Blue => "c-blue",
            Colour::Vermillion => "c-vermillion",
            Colour::Green => "c-green",
            Colour::Purple => "c-purple",
            Colour::Grey => "c-grey",
            Colour::Ink => "c-ink",
        }
    }
}

/// What a layer draws.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A curve through `(x, y)`. A number that the axis cannot show interrupts it.
    Line(Vec<(f64, f64)>),
    /// An area between `(x, low, high)`.
    Band(Vec<(f64, f64, f64)>),
    /// A histogram: a `(value, standard error)` for each bin between two edges.
    Steps {
        /// Edges of the bins, one more than bins.
        edges: Vec<f64>,
        /// Height and standard error of each bin.
        values: Vec<(f64, f64)>,
    },
    /// A horizontal line over the whole width, at this height.
    Level(f64),
    /// Marks at `(x, y, standard error)`.
    Points(Vec<(f64, f64, f64)>),
    /// Cells between edges, the darker the larger their number (the lighter on a dark page); zero is the page.
    Heat {
        /// Edges of the columns.
        x: Vec<f64>,
        /// Edges of the rows.
        y: Vec<f64>,
        /// Numbers, column by column.
        values: Vec<f64>,
    },
}

/// The axis that the heights of a layer refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Side {
    /// The main axis.
    #[default]
    Left,
    /// The second axis.
    Right,
}

/// Something drawn in a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What to draw.
    pub shape: Shape,
    /// In which colour.
    pub colour: Colour,
    /// Whether lines are dashed, so that curves differ by more than colour.
    pub dashed: bool,
    /// Whether lines stand back, as noise behind a mean does.
    pub faint: bool,
    /// Which axis the heights refer to.
    pub side: Side,
    /// Name in the legend; none if empty.
    pub name: String,
}

impl Layer {
    fn new(shape: Shape, colour: Colour) -> Self {
        Layer { shape, colour, dashed: false, faint: false, side: Side::Left, name: String::new() }
    }

    /// A curve through `(x, y)`.
    pub fn line(points: Vec<(f64, f64)>, colour: Colour) -> Self {
        Self::new(Shape::Line(points), colour)
    }

    /// An area between `(x, low, high)`.
    pub fn band(points: Vec<(f64, f64, f64)>, colour: Colour) -> Self {
        Self::new(Shape::Band(points), colour)
    }

    /// A histogram of `(value, standard error)` between bin edges.
    pub fn steps(edges: Vec<f64>, values: Vec<(f64, f64)>, colour: Colour) -> Self {
        Self::new(Shape::Steps { edges, values }, colour)
    }

    /// Marks with error bars at `(x, y, standard error)`.
    pub fn points(points: Vec<(f64, f64, f64)>, colour: Colour) -> Self {
        Self::new(Shape::Points(points), colour)
    }

    /// A map of numbers that are not negative, column by column between edges.
    pub fn heat(x: Vec<f64>, y: Vec<f64>, values: Vec<f64>, colour: Colour) -> Self {
        Self::new(Shape::Heat { x, y, values }, colour)
    }

    /// A horizontal line. Its label stands in the legend: in the plot it would lie on the data that
    /// come close to it, which is where they should be.
    pub fn level(y: f64, label: impl Into<String>, colour: Colour) -> Self {
        Self::new(Shape::Level(y), colour).dashed().named(label)
    }

    /// Draws lines dashed.
    pub fn dashed(mut self) -> Self {
        self.dashed = true;
        self
    }

    /// Draws lines faint.
    pub fn faint(mut self) -> Self {
        self.faint = true;
        self
    }

    /// Refers heights to the second axis.
    pub fn on_right(mut self) -> Self {
        self.side = Side::Right;
        self
    }

    /// Gives the layer a line in the legend.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Classes of its lines, after the colour.
    pub(super) fn line_style(&self) -> &'static str {
        match (self.dashed, self.faint) {
            (false, false) => "",
            (true, false) => " dashed",
            (false, true) => " faint",
            (true, true) => " dashed faint",
        }
    }

    pub(super) fn xs(&self) -> Vec<f64> {
        match &self.shape {
            Shape::Line(points) => points.iter().map(|p| p.0).collect(),
            Shape::Band(points) => points.iter().map(|p| p.0).collect(),
            Shape::Steps { edges, .. } => edges.clone(),
            Shape::Level(_) => vec![],
            Shape::Points(points) => points.iter().map(|p| p.0).collect(),
            Shape::Heat { x, .. } => x.clone(),
        }
    }

    /// All heights that an automatic axis should hold, within a range of `x`.
    pub(super) fn ys(&self, (low, high): (f64, f64)) -> Vec<f64> {
        let inside = |x: f64| x >= low && x <= high;
        match &self.shape {
            Shape::Line(points) => points.iter().filter(|p| inside(p.0)).map(|p| p.1).collect(),
            Shape::Band(points) => {
                points.iter().filter(|p| inside(p.0)).flat_map(|p| [p.1, p.2]).collect()
            }
            Shape::Steps { edges, values } => edges
                .windows(2)
                .zip(values)
                .filter(|(e, _)| inside(e[0]) || inside(e[1]))
                .flat_map(|(_, &(y, error))| [0.0, y, y - error, y + error])
                .collect(),
            Shape::Level(y) => vec![*y],
            Shape::Points(points) => points
                .iter()
                .filter(|p| inside(p.0))
                .flat_map(|p| [p.1, p.1 - p.2, p.1 + p.2])
                .collect(),
            Shape::Heat { y, .. } => y.clone(),
        }
    }

    /// Whether the layer has anything to show but a level, which alone makes no figure.
    pub(super) fn has_data(&self, x: Scale, y: Scale) -> bool {
        match &self.shape {
            Shape::Line(points) => points.iter().any(|p| shows(x, p.0) && shows(y, p.1)),
            Shape::Band(points) => points.iter().any(|p| shows(x, p.0) && shows(y, p.2)),
            Shape::Steps { edges, values } => {
                edges.windows(2).zip(values).any(|(e, v)| shows(x, e[0]) && shows(y, v.0))
            }
            Shape::Level(_) => false,
            Shape::Points(points) => points.iter().any(|p| shows(x, p.0) && shows(y, p.1)),
            Shape::Heat { values, .. } => values.iter().any(|v| v.is_finite() && *v > 0.0),
        }
    }
}
