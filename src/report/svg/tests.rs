//! Tests of figures by what their pictures hold.

use super::draw::MOST_POINTS;
use super::figure::{PLOT_HEIGHT, WIDTH};
use super::text::TEXT;
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
    let points = vec![(0.0, 1e-3), (1.0, 1e-2), (2.0, 1e-1), (3.0, 0.0), (4.0, 1.0), (5.0, 1.0)];
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
    let svg = figure(vec![Layer::heat(vec![0.0, 1.0, 2.0], edges, values, Colour::Blue)]).render();
    let maps: Vec<_> = svg.split("<path class=\"heat c-blue\" fill-opacity=\"").skip(1).collect();
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
