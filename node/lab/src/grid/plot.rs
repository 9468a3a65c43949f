//! A grid's plots, as SVG: score against members, score against bytes, time of a round.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use witan_home::Failure;

use super::cell::Cell;
use super::page::TASKS;
use super::results::{Results, costs};
use crate::folder;
use crate::tables::Mean;
use crate::testnet::report::TestnetReport;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plot = fn(&Results, &Canvas<'_>) -> Drawn;
/// How a place on the axis below is named; not at all where it is nothing.
type Name<'a> = &'a dyn Fn(&f64) -> String;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// A line of a plot: its name and its points.
type Line = (String, Vec<(f64, f64)>);

impl Results {
    /// Writes the three plots into a folder.
    pub fn plot(&self, dir: &Path) -> Result<(), Failure> {
        let plots: [(&str, Plot); 3] = [
            ("score.svg", Self::plot_scores),
            ("bytes.svg", Self::plot_bytes),
            ("time.svg", Self::plot_times),
        ];
        for (name, plot) in plots {
            let mut svg = String::new();
            {
                let canvas = SVGBackend::with_string(&mut svg, (860, 360)).into_drawing_area();
                canvas
                    .fill(&WHITE)
                    .map_err(Into::into)
                    .and_then(|()| plot(self, &canvas))
                    .and_then(|()| canvas.present().map_err(Into::into))
                    .expect("a drawing in memory does not fail");
            }
            folder::write(&dir.join(name), svg.as_bytes())?;
        }
        Ok(())
    }

    /// Both tasks: a line for each α, and where base and all data in one place are.
    fn plot_scores(&self, canvas: &Canvas<'_>) -> Drawn {
        let clients: Vec<usize> = self
            .columns()
            .iter()
            .map(|(clients, _)| *clients)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        for ((panel, title), task) in
            canvas.split_evenly((1, 2)).iter().zip(["VQA, %", "drawings, %"]).zip(TASKS)
        {
            let mut lines: Vec<Line> = Vec::new();
            for alpha in self.alphas() {
                let at = |(index, clients): (usize, &usize)| {
                    let metrics = self.of((*clients, alpha));
                    let metrics =
                        metrics.filter_map(|(_, it)| task(it.comparison.federated.as_ref()?));
                    Some((index as f64, 100.0 * Mean::over(metrics)?.value))
                };
                let points: Vec<_> = clients.iter().enumerate().filter_map(at).collect();
                let name = Cell { clients: 0, alpha, seed: 0 }.alpha_name();
                lines.push((format!("α {name}"), points));
            }
            let ends = (0.0, clients.len().saturating_sub(1) as f64);
            let base = self.central.iter().filter_map(|(_, it)| task(&it.base));
            let central = self.central.iter();
            let central = central.filter_map(|(_, it)| task(&it.trained.first()?.metrics));
            for (name, mean) in [("base", Mean::over(base)), ("one place", Mean::over(central))] {
                let at = |mean: Mean| 100.0 * mean.value;
                let points = mean.map(|it| vec![(ends.0, at(it)), (ends.1, at(it))]);
                lines.push((name.to_owned(), points.unwrap_or_default()));
            }
            let of = |at: &f64| {
                let is_whole = at.fract().abs() < 1e-9;
                let clients = clients.get(at.round() as usize).filter(|_| is_whole);
                clients.map_or(String::new(), usize::to_string)
            };
            draw(panel, [title, "members"], &lines, (ends.0 - 0.2..ends.1 + 0.2, &of))?;
        }
        Ok(())
    }

    /// Both tasks against what the busiest member has received so far, a line for each number of
    /// members.
    fn plot_bytes(&self, canvas: &Canvas<'_>) -> Drawn {
        for ((panel, title), task) in
            canvas.split_evenly((1, 2)).iter().zip(["VQA, %", "drawings, %"]).zip(TASKS)
        {
            let mut lines: Vec<Line> = Vec::new();
            for column in self.best_known() {
                // One seed shows the course; the table has the mean of the ends.
                let Some((cell, report)) = self.of(column).next() else { continue };
                let name = format!("{} members, α {}", cell.clients, cell.alpha_name());
                let start = report.comparison.base.as_ref().and_then(task);
                let start = start.map(|score| (0.0, 100.0 * score));
                lines.push((name, start.into_iter().chain(course(report, task)).collect()));
            }
            let most = lines.iter().flat_map(|(_, points)| points).map(|point| point.0);
            let most = most.fold(1.0, f64::max);
            let megabytes = |at: &f64| format!("{at:.0}");
            draw(panel, [title, "MB received"], &lines, (0.0..1.05 * most, &megabytes))?;
        }
        Ok(())
    }

    /// Bars: below until the last update, waits for turns and all; above from it to the commit,
    /// every member's own computation of the aggregate and all.
    fn plot_times(&self, canvas: &Canvas<'_>) -> Drawn {
        let columns = self.columns();
        let of = |column, index: usize| {
            let values = self.of(column).filter_map(|(_, report)| costs(report)[index]);
            Mean::over(values).map_or(0.0, |mean| mean.value)
        };
        let bars: Vec<_> = columns.iter().map(|column| (of(*column, 2), of(*column, 3))).collect();
        let most = bars.iter().map(|(update, commit)| update + commit).fold(1.0, f64::max);
        let name = |at: &f64| {
            let column =
                columns.get(at.floor() as usize).filter(|_| (at.fract() - 0.5).abs() < 0.01);
            column.map_or(String::new(), |(clients, alpha)| {
                format!("{clients}, {}", Cell { clients: 0, alpha: *alpha, seed: 0 }.alpha_name())
            })
        };
        let mut chart = ChartBuilder::on(canvas)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..columns.len().max(1) as f64, 0.0..1.3 * most)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .y_label_formatter(&|seconds| format!("{seconds:.0}"))
            .x_labels(2 * columns.len() + 1)
            .x_label_formatter(&name)
            .x_desc("members, α")
            .y_desc("seconds of a round")
            .draw()?;
        for (part, colour, label) in [(0, COLOURS[0], LAST_UPDATE), (1, COLOURS[1], COMMIT)] {
            let boxes = bars.iter().enumerate().map(|(index, (update, commit))| {
                let (low, high) =
                    if part == 0 { (0.0, *update) } else { (*update, update + commit) };
                let left = index as f64;
                Rectangle::new([(left + 0.2, low), (left + 0.8, high)], colour.filled())
            });
            chart.draw_series(boxes)?.label(label).legend(move |(x, y)| {
                Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled())
            });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE)
            .border_style(GREY)
            .draw()?;
        Ok(())
    }

    /// Of each number of members the unevenness with most seeds, the first of equals: what is
    /// received does not depend on it, and a line for each would hide them all.
    fn best_known(&self) -> Vec<(usize, Option<f64>)> {
        let columns = self.columns();
        let known = columns.chunk_by(|one, other| one.0 == other.0);
        let seeds = |column: &(usize, Option<f64>)| self.of(*column).count();
        let most = known.filter_map(|columns| columns.iter().rev().max_by_key(|it| seeds(it)));
        most.copied().collect()
    }

    /// Every α, the most uneven first.
    pub(super) fn alphas(&self) -> Vec<Option<f64>> {
        let mut alphas: Vec<_> = self.columns().iter().map(|(_, alpha)| *alpha).collect();
        let order = |alpha: &Option<f64>| alpha.unwrap_or(f64::INFINITY);
        alphas.sort_by(|a, b| order(a).total_cmp(&order(b)));
        alphas.dedup();
        alphas
    }
}

/// A run's scores after each round that was scored, over the megabytes received until then.
fn course(
    report: &TestnetReport,
    task: fn(&witan_data::metrics::Metrics) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let mut received = 0.0;
    let mut points = Vec::new();
    for round in &report.rounds {
        received += round.bytes_in_max as f64 / 1e6;
        if let Some(score) = round.metrics.as_ref().and_then(task) {
            points.push((received, 100.0 * score));
        }
    }
    points
}

fn draw(
    panel: &Canvas<'_>,
    [title, of]: [&str; 2],
    lines: &[Line],
    (x, name): (Range<f64>, Name<'_>),
) -> Drawn {
    let scores = || lines.iter().flat_map(|(_, points)| points).map(|point| point.1);
    let low = (scores().fold(f64::INFINITY, f64::min).min(100.0) / 10.0).floor() * 10.0;
    let high = ((scores().fold(0.0, f64::max) / 10.0).ceil() * 10.0).max(low + 10.0);
    let mut chart = ChartBuilder::on(panel)
        .margin(12)
        .caption(title, ("sans-serif", 15))
        .x_label_area_size(36)
        .y_label_area_size(36)
        .build_cartesian_2d(x, low..high)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(of)
        .x_label_formatter(&name)
        .y_label_formatter(&|score| format!("{score:.0}"))
        .draw()?;
    let lines = lines.iter().filter(|(_, points)| !points.is_empty());
    for (index, (label, points)) in lines.enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(GREY)
        .draw()?;
    Ok(())
}

/// Distinct also to those who confuse red and green (Okabe and Ito's palette).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
    RGBColor(150, 150, 150),
];
const LAST_UPDATE: &str = "until the last update";
const COMMIT: &str = "last update to commit";
const GREY: RGBColor = RGBColor(190, 190, 190);
