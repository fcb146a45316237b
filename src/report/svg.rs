//! Figures as inline SVG: lines, bands, steps and levels over linear or logarithmic axes.
//!
//! A figure is drawn in a space 560 wide and scales with the page. Colours are CSS variables, which
//! [`STYLE`] sets for light and dark pages, so the page that holds a figure must hold the style too.

mod axis;
mod thin;

pub use axis::{Axis, Scale};

use super::escape::escape;
use axis::{Ticks, place, range, shows, superscript, ticks, widen};
use std::fmt::Write;

/// The style of all figures, with the palette of M. Okabe and K. Ito ("Color universal design", 2008)
/// for light and dark pages.
pub const STYLE: &str = include_str!("svg/style.css");

const WIDTH: f64 = 560.0;
const PLOT_HEIGHT: f64 = 252.0;
/// Size of all text but the title. The style makes it 15 on narrow pages, which the margins allow, so
/// that it shows at 11 pixels on a page of 480.
const TEXT: f64 = 14.0;
const TITLE: f64 = 16.0;
/// More points than this are thinned: the plot is about 480 wide.
const MOST_POINTS: usize = 960;

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
}

impl Colour {
    fn class(self) -> &'static str {
        match self {
            Colour::Blue => "c-blue",
            Colour::Vermillion => "c-vermillion",
            Colour::Green => "c-green",
            Colour::Purple => "c-purple",
            Colour::Grey => "c-grey",
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
    fn line_style(&self) -> &'static str {
        match (self.dashed, self.faint) {
            (false, false) => "",
            (true, false) => " dashed",
            (false, true) => " faint",
            (true, true) => " dashed faint",
        }
    }

    fn xs(&self) -> Vec<f64> {
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
    fn ys(&self, (low, high): (f64, f64)) -> Vec<f64> {
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
    fn has_data(&self, x: Scale, y: Scale) -> bool {
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

/// A figure: axes and layers, drawn in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Unique within a page; letters, digits and hyphens.
    pub id: String,
    /// What the figure shows.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis at the left.
    pub y: Axis,
    /// Vertical axis at the right, for layers on [`Side::Right`].
    pub right: Option<Axis>,
    /// What is drawn.
    pub layers: Vec<Layer>,
    /// Height of the plot area; the whole figure is 560 wide.
    pub height: f64,
}

/// Where things lie: the plot area and the ranges of its axes.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: (Scale, (f64, f64)),
    y: (Scale, (f64, f64)),
    y_right: Option<(Scale, (f64, f64))>,
}

impl Frame {
    fn x(&self, x: f64) -> f64 {
        limit(self.left + (self.right - self.left) * place(self.x.0, self.x.1, x))
    }

    fn y(&self, side: Side, y: f64) -> f64 {
        let (scale, range) = self.axis(side);
        limit(self.bottom - (self.bottom - self.top) * place(scale, range, y))
    }

    fn axis(&self, side: Side) -> (Scale, (f64, f64)) {
        match side {
            Side::Left => self.y,
            Side::Right => self.y_right.unwrap_or(self.y),
        }
    }
}

/// Points far outside the plot are cut off by a clip path, but renderers lose precision with huge
/// coordinates.
fn limit(pixel: f64) -> f64 {
    pixel.clamp(-5000.0, 5000.0)
}

impl Figure {
    /// A figure without layers.
    pub fn new(id: impl Into<String>, title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Figure {
            id: id.into(),
            title: title.into(),
            x,
            y,
            right: None,
            layers: vec![],
            height: PLOT_HEIGHT,
        }
    }

    /// Adds a second vertical axis.
    pub fn with_right(mut self, axis: Axis) -> Self {
        self.right = Some(axis);
        self
    }

    /// Makes the plot area so high, for maps whose two axes are alike.
    pub fn with_height(mut self, height: f64) -> Self {
        self.height = height;
        self
    }

    /// Adds a layer on top.
    pub fn with(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// The figure as an `<svg>` element. Numbers that an axis cannot show are left out; a figure
    /// without any data says so.
    pub fn render(&self) -> String {
        let mut body = String::new();
        let mut top = 6.0;
        for line in wrap(&self.title, WIDTH - 16.0, TITLE) {
            top += TITLE + 3.0;
            put(&mut body, "title", 8.0, top - 3.0, "start", &line);
        }
        let height = match self.frame(top) {
            None => {
                let height = top + 120.0;
                put(&mut body, "empty", WIDTH / 2.0, top + 60.0, "middle", "No data to show.");
                height
            }
            Some((frame, plot_ticks)) => {
                self.legend(&mut body, top);
                self.draw(&mut body, &frame, &plot_ticks);
                frame.bottom + 48.0
            }
        };
        format!(
            "<svg class=\"plot\" id=\"{id}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             aria-label=\"{title}\" xmlns=\"http://www.w3.org/2000/svg\">\n{body}</svg>\n",
            id = escape(&self.id),
            title = escape(&self.title),
        )
    }

    /// The plot area under a header that ends at `top`, and its ticks (x, y, right). None without
    /// data.
    fn frame(&self, top: f64) -> Option<(Frame, [Ticks; 3])> {
        let scale = |side| match (side, &self.right) {
            (Side::Right, Some(axis)) => axis.scale,
            _ => self.y.scale,
        };
        if !self.layers.iter().any(|l| l.has_data(self.x.scale, scale(l.side))) {
            return None;
        }
        let checked = |axis: &Axis| {
            axis.range
                .filter(|r| shows(axis.scale, r.0) && shows(axis.scale, r.1) && r.0 <= r.1)
                .map(|r| widen(axis.scale, r, 0.0))
        };
        let x_range = checked(&self.x)
            .or_else(|| range(self.x.scale, self.layers.iter().flat_map(Layer::xs), 0.0))?;
        let vertical = |axis: &Axis, side: Side| {
            checked(axis).or_else(|| {
                let layers = self.layers.iter().filter(|l| l.side == side);
                let steps = layers.clone().any(|l| matches!(l.shape, Shape::Steps { .. }));
                let found = range(axis.scale, layers.flat_map(|l| l.ys(x_range)), 0.06)?;
                // Densities are not negative: their bars stand on the axis, whatever their errors.
                let low = if steps && axis.scale == Scale::Linear {
                    found.0.max(-0.02 * found.1.abs())
                } else {
                    found.0
                };
                Some((low, found.1))
            })
        };
        let y_range = vertical(&self.y, Side::Left).unwrap_or((0.0, 1.0));
        let y_ticks = ticks(self.y.scale, y_range, 5);
        let y_right =
            self.right.as_ref().and_then(|axis| Some((axis.scale, vertical(axis, Side::Right)?)));
        let right_ticks = y_right.map(|(scale, range)| ticks(scale, range, 5)).unwrap_or_default();

        let margin = |t: &Ticks| {
            let widest = t.major.iter().map(|(_, l)| text_width(l, TEXT)).fold(0.0, f64::max);
            widest + TEXT + 20.0
        };
        let left = margin(&y_ticks);
        let right = WIDTH - if y_right.is_some() { margin(&right_ticks) } else { 18.0 };
        let mut plot_top = top + 10.0 + self.legend_rows().len() as f64 * (TEXT + 6.0);
        if y_ticks.power.is_some() || right_ticks.power.is_some() {
            plot_top += TEXT + 2.0;
        }
        let frame = Frame {
            left,
            right,
            top: plot_top,
            bottom: plot_top + self.height,
            x: (self.x.scale, x_range),
            y: (self.y.scale, y_range),
            y_right,
        };
        let mut count = 7;
        let x_ticks = loop {
            let t = ticks(self.x.scale, x_range, count);
            let wide: f64 = t.major.iter().map(|(_, l)| text_width(l, TEXT) + 16.0).sum();
            if wide <= right - left || count <= 2 {
                break t;
            }
            count -= 1;
        };
        Some((frame, [x_ticks, y_ticks, right_ticks]))
    }

    /// Entries of the legend in rows that fit the width, each with its place.
    fn legend_rows(&self) -> Vec<Vec<(f64, &Layer)>> {
        let mut rows: Vec<Vec<(f64, &Layer)>> = vec![];
        let mut x = f64::INFINITY;
        for layer in self.layers.iter().filter(|l| !l.name.is_empty()) {
            let width = 34.0 + text_width(&layer.name, TEXT) + 18.0;
            if x + width > WIDTH {
                rows.push(vec![]);
                x = 8.0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((x, layer));
            }
            x += width;
        }
        rows
    }

    fn legend(&self, body: &mut String, top: f64) {
        for (index, row) in self.legend_rows().into_iter().enumerate() {
            let y = top + 6.0 + (index as f64 + 0.5) * (TEXT + 6.0);
            for (x, layer) in row {
                let class = layer.colour.class();
                let end = x + 26.0;
                if matches!(layer.shape, Shape::Points(_)) {
                    let _ = writeln!(
                        body,
                        "<circle class=\"mark {class}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\"/>",
                        x + 13.0
                    );
                    put(body, "", end + 8.0, y + 5.0, "start", &layer.name);
                    continue;
                }
                if matches!(layer.shape, Shape::Heat { .. }) {
                    for step in 0..5 {
                        let _ = writeln!(
                            body,
                            "<path class=\"heat {class}\" fill-opacity=\"{:.2}\" \
                             d=\"M{:.1} {:.1}h5.2v12h-5.2z\"/>",
                            0.25 * f64::from(step),
                            x + 5.2 * f64::from(step),
                            y - 6.0
                        );
                    }
                    put(body, "", end + 8.0, y + 5.0, "start", &layer.name);
                    continue;
                }
                if matches!(layer.shape, Shape::Band(_) | Shape::Steps { .. }) {
                    let _ = writeln!(
                        body,
                        "<rect class=\"key area {class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"26\" \
                         height=\"12\"/>",
                        y - 6.0
                    );
                }
                if !matches!(layer.shape, Shape::Band(_)) {
                    let dash = layer.line_style();
                    let line = if matches!(layer.shape, Shape::Steps { .. }) { y - 6.0 } else { y };
                    let _ = writeln!(
                        body,
                        "<path class=\"key line {class}{dash}\" d=\"M{x:.1} {line:.1}H{end:.1}\"/>"
                    );
                }
                put(body, "", end + 8.0, y + 5.0, "start", &layer.name);
            }
        }
    }

    fn draw(&self, body: &mut String, frame: &Frame, [x_ticks, y_ticks, right_ticks]: &[Ticks; 3]) {
        let Frame { left, right, top, bottom, .. } = *frame;
        let (width, height) = (right - left, bottom - top);
        let clip = format!("{}-clip", escape(&self.id));
        let _ = writeln!(
            body,
            "<clipPath id=\"{clip}\"><rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\"/></clipPath>"
        );
        let mut grid = String::new();
        for (x, _) in &x_ticks.major {
            let _ = write!(grid, "M{:.1} {top:.1}V{bottom:.1}", frame.x(*x));
        }
        for (y, _) in &y_ticks.major {
            let _ = write!(grid, "M{left:.1} {:.1}H{right:.1}", frame.y(Side::Left, *y));
        }
        let _ = writeln!(body, "<path class=\"grid\" d=\"{grid}\"/>");
        let mut minor = String::new();
        for y in &y_ticks.minor {
            let _ = write!(minor, "M{left:.1} {:.1}h4", frame.y(Side::Left, *y));
        }
        for y in &right_ticks.minor {
            let _ = write!(minor, "M{right:.1} {:.1}h-4", frame.y(Side::Right, *y));
        }
        for x in &x_ticks.minor {
            let _ = write!(minor, "M{:.1} {bottom:.1}v-4", frame.x(*x));
        }

        let _ = writeln!(body, "<g clip-path=\"url(#{clip})\">");
        for layer in &self.layers {
            draw_layer(body, frame, layer);
        }
        let _ = writeln!(body, "</g>");
        let _ = writeln!(
            body,
            "<path class=\"axis\" d=\"M{left:.1} {top:.1}H{right:.1}V{bottom:.1}H{left:.1}Z{minor}\"/>"
        );
        for layer in &self.layers {
            mark_clipped(body, frame, layer);
        }

        for (x, label) in &x_ticks.major {
            put(body, "tick", frame.x(*x), bottom + 18.0, "middle", label);
        }
        for (y, label) in &y_ticks.major {
            put(body, "tick", left - 7.0, frame.y(Side::Left, *y) + 5.0, "end", label);
        }
        for (y, label) in &right_ticks.major {
            put(body, "tick", right + 7.0, frame.y(Side::Right, *y) + 5.0, "start", label);
        }
        if let Some(power) = y_ticks.power {
            put(body, "tick", left, top - 6.0, "start", &format!("×10{}", superscript(power)));
        }
        if let Some(power) = right_ticks.power {
            put(body, "tick", right, top - 6.0, "end", &format!("×10{}", superscript(power)));
        }
        let x_label = match x_ticks.power {
            Some(power) => format!("{} × 10{}", self.x.label, superscript(-power)),
            None => self.x.label.clone(),
        };
        put(body, "label", (left + right) / 2.0, bottom + 39.0, "middle", &x_label);
        let middle = (top + bottom) / 2.0;
        put_turned(body, TEXT + 2.0, middle, -90, &self.y.label);
        if let (Some(axis), Some(_)) = (&self.right, frame.y_right) {
            put_turned(body, WIDTH - TEXT - 2.0, middle, 90, &axis.label);
        }
    }
}

fn draw_layer(body: &mut String, frame: &Frame, layer: &Layer) {
    let class = layer.colour.class();
    let dash = layer.line_style();
    let (x_scale, _) = frame.x;
    let (y_scale, y_range) = frame.axis(layer.side);
    let px = |x: f64| frame.x(x);
    let py = |y: f64| frame.y(layer.side, y);
    // A noisy start beyond the range would fill the plot with upright lines: curves are interrupted
    // well outside. (Not on logarithmic axes, where a crossing of zero does no harm.)
    let drawn = |y: f64| {
        shows(y_scale, y)
            && (y_scale == Scale::Log || (-0.3..=1.3).contains(&place(y_scale, y_range, y)))
    };
    match &layer.shape {
        Shape::Line(points) => {
            let mut path = String::new();
            for part in points.split(|p| !shows(x_scale, p.0) || !drawn(p.1)) {
                let part = thin::curve(part, MOST_POINTS);
                if let [(x, y)] = part[..] {
                    // A path of one point is invisible; a short dash is not.
                    let _ = write!(path, "M{:.1} {:.1}h4", px(x) - 2.0, py(y));
                    continue;
                }
                for (i, (x, y)) in part.iter().enumerate() {
                    let step = if i == 0 { 'M' } else { 'L' };
                    let _ = write!(path, "{step}{:.1} {:.1}", px(*x), py(*y));
                }
            }
            let _ = writeln!(body, "<path class=\"line {class}{dash}\" d=\"{path}\"/>");
        }
        Shape::Band(points) => {
            let usable = |p: &(f64, f64, f64)| {
                let middle = 0.5 * (p.1 + p.2);
                let near = y_scale == Scale::Log || drawn(middle);
                shows(x_scale, p.0) && shows(y_scale, p.2) && p.1.is_finite() && near
            };
            let mut path = String::new();
            for part in points.split(|p| !usable(p)).filter(|part| !part.is_empty()) {
                let part = thin::band(part, MOST_POINTS / 2);
                // The lower edge may have no place on a logarithmic axis: then the area goes down
                // to the bottom.
                let floor = |y: f64| py(if shows(y_scale, y) { y } else { y_range.0 });
                for (i, (x, _, high)) in part.iter().enumerate() {
                    let step = if i == 0 { 'M' } else { 'L' };
                    let _ = write!(path, "{step}{:.1} {:.1}", px(*x), py(*high));
                }
                for (x, low, _) in part.iter().rev() {
                    let _ = write!(path, "L{:.1} {:.1}", px(*x), floor(*low));
                }
                path.push('Z');
            }
            let _ = writeln!(body, "<path class=\"area {class}\" d=\"{path}\"/>");
        }
        Shape::Steps { edges, values } => {
            let base = if shows(y_scale, 0.0) { py(0.0) } else { frame.bottom };
            let (mut outline, mut area, mut bars) = (String::new(), String::new(), String::new());
            let mut open = false;
            for (edge, &(y, error)) in edges.windows(2).zip(values) {
                let usable =
                    shows(x_scale, edge[0]) && shows(x_scale, edge[1]) && shows(y_scale, y);
                if !usable {
                    open = false;
                    continue;
                }
                let (a, b, h) = (px(edge[0]), px(edge[1]), py(y));
                if open {
                    let _ = write!(outline, "V{h:.1}H{b:.1}");
                } else {
                    let _ = write!(outline, "M{a:.1} {h:.1}H{b:.1}");
                }
                open = true;
                let _ = write!(area, "M{a:.1} {base:.1}V{h:.1}H{b:.1}V{base:.1}Z");
                if error > 0.0 && shows(y_scale, y + error) {
                    let low = if shows(y_scale, y - error) { py(y - error) } else { frame.bottom };
                    let _ = write!(bars, "M{:.1} {low:.1}V{:.1}", (a + b) / 2.0, py(y + error));
                }
            }
            let _ = writeln!(
                body,
                "<path class=\"area {class}\" d=\"{area}\"/>\n\
                 <path class=\"line {class}{dash}\" d=\"{outline}\"/>\n\
                 <path class=\"bars {class}\" d=\"{bars}\"/>"
            );
        }
        Shape::Points(points) => {
            let mut bars = String::new();
            let visible = |p: &&(f64, f64, f64)| shows(x_scale, p.0) && drawn(p.1);
            for &(x, y, error) in points.iter().filter(visible) {
                let _ = writeln!(
                    body,
                    "<circle class=\"mark {class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>",
                    px(x),
                    py(y)
                );
                if error > 0.0 && shows(y_scale, y + error) {
                    let low = if shows(y_scale, y - error) { py(y - error) } else { frame.bottom };
                    let _ = write!(bars, "M{:.1} {low:.1}V{:.1}", px(x), py(y + error));
                }
            }
            let _ = writeln!(body, "<path class=\"bars {class}\" d=\"{bars}\"/>");
        }
        Shape::Heat { x, y, values } => draw_heat(body, frame, class, (x, y, values)),
        Shape::Level(y) => {
            if shows(y_scale, *y) {
                let _ = writeln!(
                    body,
                    "<path class=\"line {class}{dash}\" d=\"M{:.1} {:.1}H{:.1}\"/>",
                    frame.left,
                    py(*y),
                    frame.right
                );
            }
        }
    }
}

/// Shades of a map: fine enough that steps do not show.
const SHADES: usize = 48;

/// One path a shade: neighbours of one shade in a column are one rectangle.
fn draw_heat(
    body: &mut String,
    frame: &Frame,
    class: &str,
    (x, y, values): (&[f64], &[f64], &[f64]),
) {
    let largest = values.iter().copied().filter(|v| v.is_finite()).fold(0.0, f64::max);
    let rows = y.len().saturating_sub(1);
    if largest <= 0.0 || rows == 0 {
        return;
    }
    let usable = |scale: Scale, edges: &[f64]| edges.iter().all(|&e| shows(scale, e));
    if !usable(frame.x.0, x) || !usable(frame.y.0, y) {
        return;
    }
    let mut paths = vec![String::new(); SHADES + 1];
    for (edge, column) in x.windows(2).zip(values.chunks(rows)) {
        let shade = |v: f64| {
            // Not-a-number becomes zero, the page.
            ((v / largest).clamp(0.0, 1.0) * SHADES as f64).round() as usize
        };
        let (a, b) = (frame.x(edge[0]), frame.x(edge[1]));
        let mut start = 0;
        for end in 1..=column.len() {
            if end < column.len() && shade(column[end]) == shade(column[start]) {
                continue;
            }
            let (low, high) = (frame.y(Side::Left, y[start]), frame.y(Side::Left, y[end]));
            let _ =
                write!(paths[shade(column[start])], "M{a:.1} {low:.1}V{high:.1}H{b:.1}V{low:.1}Z");
            start = end;
        }
    }
    for (shade, path) in paths.iter().enumerate().skip(1).filter(|(_, p)| !p.is_empty()) {
        let opacity = shade as f64 / SHADES as f64;
        let _ = writeln!(
            body,
            "<path class=\"heat {class}\" fill-opacity=\"{opacity:.3}\" d=\"{path}\"/>"
        );
    }
}

/// Triangles at the edge of the plot where points of a curve lie above or below it, so that a range
/// that shows the end of a run does not hide its start. Not for the second axis, whose curves are
/// scenery, and not on logarithmic ones, where any curve that crosses zero goes below every range.
fn mark_clipped(body: &mut String, frame: &Frame, layer: &Layer) {
    const SPACING: f64 = 12.0;
    let (Shape::Line(points), Side::Left) = (&layer.shape, layer.side) else { return };
    let (scale @ Scale::Linear, range) = frame.y else { return };
    let mut last = [f64::NEG_INFINITY; 2];
    let mut path = String::new();
    for &(x, y) in points.iter().filter(|p| shows(frame.x.0, p.0) && shows(scale, p.1)) {
        let (along, up) = (place(frame.x.0, frame.x.1, x), place(scale, range, y));
        let above = up > 1.0;
        if !(0.0..=1.0).contains(&along) || (!above && up >= 0.0) {
            continue;
        }
        let x = frame.x(x);
        if (x - last[above as usize]).abs() < SPACING {
            continue;
        }
        last[above as usize] = x;
        let (base, tip) = if above { (frame.top + 9.0, -7) } else { (frame.bottom - 9.0, 7) };
        let _ = write!(path, "M{:.1} {base:.1}h9l-4.5 {tip}Z", x - 4.5);
    }
    if !path.is_empty() {
        let class = layer.colour.class();
        let _ = writeln!(body, "<path class=\"clipped {class}\" d=\"{path}\"/>");
    }
}

fn put(body: &mut String, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
    // Writing to a String has no way to fail.
    let _ = writeln!(
        body,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escape(text)
    );
}

fn put_turned(body: &mut String, x: f64, y: f64, angle: i32, text: &str) {
    let _ = writeln!(
        body,
        "<text class=\"label\" transform=\"translate({x:.1} {y:.1}) rotate({angle})\" \
         text-anchor=\"middle\">{}</text>",
        escape(text)
    );
}

/// About how wide a text is: the font of the page is not known here, and few are wider.
fn text_width(text: &str, size: f64) -> f64 {
    0.62 * size * text.chars().count() as f64
}

/// Breaks a text into lines that fit, between words.
fn wrap(text: &str, width: f64, size: f64) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, size) + text_width(word, size) + size < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pairs of numbers in the `d` of the first path whose class starts like this.
    fn path(svg: &str, class: &str) -> Vec<(f64, f64)> {
        let d = svg
            .split("<path class=\"")
            .find(|p| p.starts_with(class) && !p.contains("key "))
            .and_then(|p| p.split(" d=\"").nth(1))
            .and_then(|p| p.split('"').next())
            .unwrap();
        d.split(['M', 'L', 'Z'])
            .filter(|p| !p.is_empty())
            .map(|p| {
                let (x, y) = p.split_once(' ').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            })
            .collect()
    }

    /// Text elements that are not turned: (x, y, anchor, content).
    fn texts(svg: &str) -> Vec<(f64, f64, String, String)> {
        let attribute = |t: &str, name: &str| {
            t.split(&format!("{name}=\"")).nth(1)?.split('"').next().map(String::from)
        };
        svg.split("<text ")
            .skip(1)
            .filter_map(|t| {
                let x = attribute(t, " x")?.parse().ok()?;
                let y = attribute(t, " y")?.parse().ok()?;
                let content = t.split('>').nth(1)?.split('<').next()?.to_string();
                Some((x, y, attribute(t, "text-anchor")?, content))
            })
            .collect()
    }

    fn figure(layers: Vec<Layer>) -> Figure {
        let mut figure =
            Figure::new("f", "Energy", Axis::linear("iteration"), Axis::linear("energy (Ha)"));
        figure.layers = layers;
        figure
    }

    #[test]
    fn a_line_maps_to_the_plot() {
        let line = Layer::line(vec![(0.0, 0.0), (5.0, 1.0), (10.0, 0.5)], Colour::Blue);
        let mut f = figure(vec![line]);
        f.y = Axis::linear("y").with_range(0.0, 1.0);
        let p = path(&f.render(), "line c-blue");
        assert_eq!(p.len(), 3);
        assert!((p[0].1 - p[1].1 - PLOT_HEIGHT).abs() < 0.11);
        assert!((p[1].0 - 0.5 * (p[0].0 + p[2].0)).abs() < 0.11);
        assert!((p[2].1 - 0.5 * (p[0].1 + p[1].1)).abs() < 0.11);
    }

    #[test]
    fn a_decade_is_a_decade_on_a_log_axis() {
        let points =
            vec![(0.0, 1e-3), (1.0, 1e-2), (2.0, 1e-1), (3.0, 0.0), (4.0, 1.0), (5.0, 1.0)];
        let mut f = figure(vec![Layer::line(points, Colour::Blue)]);
        f.y = Axis::log("variance (Ha²)");
        let p = path(&f.render(), "line c-blue");
        assert!((p[0].1 - p[1].1 - (p[1].1 - p[2].1)).abs() < 0.21);
        assert!((p[0].0..p[2].0 + 200.0).contains(&p[3].0), "the zero is left out: {p:?}");
    }

    #[test]
    fn points_beyond_a_fixed_range_are_marked_at_the_edge() {
        let points = (0..100).map(|i| (i as f64, if i < 10 { 50.0 } else { 0.5 })).collect();
        let mut f = figure(vec![Layer::line(points, Colour::Blue)]);
        assert!(!f.render().contains("clipped"));
        f.y.range = Some((0.0, 1.0));
        let svg = f.render();
        let marks = svg.split("class=\"clipped").nth(1).unwrap().split('>').next().unwrap();
        assert!((3..=5).contains(&marks.matches('Z').count()), "{marks}");
    }

    #[test]
    fn odd_numbers_never_reach_the_picture() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1e308, -1e308, 5e-324];
        for (i, &a) in odd.iter().enumerate() {
            for &b in &odd[i..] {
                for scale in [Scale::Linear, Scale::Log] {
                    let mut f = figure(vec![
                        Layer::line(vec![(a, b), (0.0, b), (1.0, 1.0), (b, a)], Colour::Blue),
                        Layer::band(vec![(0.0, a, b), (1.0, b, a), (2.0, 1.0, b)], Colour::Blue),
                        Layer::steps(vec![a, 1.0, b], vec![(b, a), (1.0, b)], Colour::Green),
                        Layer::level(a, "level", Colour::Grey),
                        Layer::points(vec![(a, b, 1.0), (1.0, a, b)], Colour::Purple),
                        Layer::heat(vec![0.0, a, b], vec![0.0, 1.0], vec![a, b], Colour::Blue),
                    ]);
                    f.y.scale = scale;
                    f.x.scale = scale;
                    f.y.range = Some((a, b));
                    let svg = f.render();
                    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{a} {b}\n{svg}");
                }
            }
        }
    }

    #[test]
    fn a_map_merges_neighbours_and_shades_by_size() {
        let values = vec![0.0, 1.0, 1.0, 4.0, f64::NAN, 2.0];
        let edges = vec![0.0, 1.0, 2.0, 3.0];
        let svg =
            figure(vec![Layer::heat(vec![0.0, 1.0, 2.0], edges, values, Colour::Blue)]).render();
        let maps: Vec<_> =
            svg.split("<path class=\"heat c-blue\" fill-opacity=\"").skip(1).collect();
        let shades: Vec<&str> = maps.iter().map(|m| &m[..5]).collect();
        assert_eq!(shades, ["0.250", "0.500", "1.000"]);
        // The two equal cells are one rectangle.
        assert_eq!(maps[0].split('>').next().unwrap().matches('M').count(), 1);
    }

    #[test]
    fn an_empty_figure_says_so() {
        let nothing = [
            vec![],
            vec![Layer::line(vec![], Colour::Blue)],
            vec![Layer::line(vec![(0.0, f64::NAN)], Colour::Blue)],
            vec![Layer::level(-1.0, "exact", Colour::Grey)],
        ];
        for layers in nothing {
            assert!(figure(layers).render().contains("No data to show."));
        }
        let mut f = figure(vec![Layer::line(vec![(1.0, -1.0)], Colour::Blue)]);
        f.y.scale = Scale::Log;
        assert!(f.render().contains("No data to show."));
        f.y.scale = Scale::Linear;
        assert!(!f.render().contains("No data to show."));
    }

    #[test]
    fn long_runs_make_small_figures() {
        let points = |n: usize| (0..n).map(|i| (i as f64, (i as f64).sin())).collect();
        let svg = figure(vec![Layer::line(points(200_000), Colour::Blue)]).render();
        assert!(path(&svg, "line c-blue").len() <= MOST_POINTS + 2);
        assert!(svg.len() < 30_000);
        let again = figure(vec![Layer::line(points(200_000), Colour::Blue)]).render();
        assert_eq!(svg, again);
    }

    #[test]
    fn texts_stay_inside_and_do_not_overlap() {
        let ranges = [(0.0, 1.0), (-1.81605, -1.81603), (-5e9, 5e9), (0.0, 3e-9), (-1e-4, 12.0)];
        for y in ranges {
            for x in [(0.0, 10.0), (0.0, 99_999.0), (-1234.5, -1234.4), (0.0, 2e7)] {
                let mut f = figure(vec![
                    Layer::line(vec![(x.0, y.0), (x.1, y.1)], Colour::Blue)
                        .named("energy of each iteration"),
                    Layer::line(vec![(x.0, y.1), (x.1, y.0)], Colour::Green)
                        .named("a long name for another curve"),
                    Layer::line(vec![(x.0, y.1), (x.1, y.0)], Colour::Purple)
                        .named("a third")
                        .on_right(),
                ])
                .with_right(Axis::linear("v (Ha)"));
                f.title =
                    "A rather long title that may well need more than a line of the figure".into();
                let svg = f.render();
                let boxes: Vec<_> = texts(&svg)
                    .into_iter()
                    .map(|(x, y, anchor, text)| {
                        let w = 0.56 * TEXT * text.chars().count() as f64;
                        let start = match anchor.as_str() {
                            "start" => x,
                            "end" => x - w,
                            _ => x - w / 2.0,
                        };
                        (start, start + w, y - 0.75 * TEXT, y, text)
                    })
                    .collect();
                for (i, a) in boxes.iter().enumerate() {
                    assert!(a.0 >= 0.0 && a.1 <= WIDTH, "outside: {a:?}");
                    for b in &boxes[..i] {
                        let apart = a.0 >= b.1 || b.0 >= a.1 || a.2 >= b.3 || b.2 >= a.3;
                        assert!(apart, "{a:?} over {b:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn users_text_is_escaped() {
        let mut f = figure(vec![
            Layer::line(vec![(0.0, 0.0), (1.0, 1.0)], Colour::Blue).named("<b>&"),
            Layer::level(0.5, "\"<script>\"", Colour::Grey),
        ]);
        f.title = "<i>'".into();
        f.id = "a\"b".into();
        let svg = f.render();
        for raw in ["<b>", "<script", "<i>", "a\"b"] {
            assert!(!svg.contains(raw), "{raw}");
        }
        assert!(svg.contains("&lt;b&gt;&amp;"));
    }

    #[test]
    fn steps_draw_every_bin_with_its_error_bar() {
        let values = vec![(1.0, 0.1), (f64::NAN, 0.1), (2.0, 0.0)];
        let edges = vec![0.0, 1.0, 2.0, 3.0];
        let svg = figure(vec![Layer::steps(edges, values, Colour::Blue)]).render();
        let d = |class: &str| {
            let at = svg.find(&format!("<path class=\"{class}")).unwrap();
            svg[at..].split(" d=\"").nth(1).unwrap().split('"').next().unwrap().to_string()
        };
        assert_eq!(d("line").matches('M').count(), 2, "a gap for the bin without a number");
        assert_eq!(d("area").matches('Z').count(), 2);
        assert_eq!(d("bars").matches('M').count(), 1, "no bar for an error of zero");
    }
}
