//! A figure: axes and layers, and how they become a picture.

use super::super::escape::escape;
use super::axis::{Axis, Scale, Ticks, range, shows, superscript, ticks, widen};
use super::draw::{draw_layer, mark_clipped};
use super::frame::Frame;
use super::layer::{Layer, Shape, Side};
use super::text::{TEXT, put, put_turned, text_width, wrap};
use std::fmt::Write;

pub(super) const WIDTH: f64 = 560.0;
pub(super) const PLOT_HEIGHT: f64 = 252.0;
const TITLE: f64 = 16.0;

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
