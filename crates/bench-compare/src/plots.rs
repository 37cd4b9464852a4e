//! The tables as pictures: a panel for each figure, a bar for each engine. Each is drawn twice, as SVG and
//! as PNG. The font comes along, so that no machine's fonts matter.

use crate::engine::Engine;
use crate::figures::{Figures, show};
use crate::tables::{self, Better, Table};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};
use std::path::Path;

const PANEL_WIDTH: i32 = 560;
const COLUMNS: usize = 2;
const TITLE_HEIGHT: i32 = 64;
const PANEL_HEAD_HEIGHT: i32 = 26;
const BAR_HEIGHT: i32 = 18;
const GAP: i32 = 20;
/// Where the bars begin in their panel, and how long the longest is; its value is after it.
const BARS_AT: i32 = 120;
const BARS_WIDTH: i32 = 340;

const OWN: RGBColor = RGBColor(0xc2, 0x41, 0x0c);
const PEER: RGBColor = RGBColor(0x64, 0x8f, 0xb5);
const LIMIT: RGBColor = RGBColor(0xb0, 0xb0, 0xb0);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// From how many times the shortest bar on the longest makes the scale logarithmic.
const LOGARITHMIC_FROM: f64 = 20.0;

/// Draws every table that has figures.
pub fn draw_all(directory: &Path, engines: &[Box<dyn Engine>], figures: &Figures) {
    std::fs::create_dir_all(directory).expect("a directory for the pictures");
    for (style, font) in
        [(FontStyle::Normal, dejavu::sans::regular()), (FontStyle::Bold, dejavu::sans::bold())]
    {
        assert!(register_font("sans-serif", style, font).is_ok(), "the font is one");
    }
    for table in tables::ALL {
        let engines = figures.engines(table, engines);
        let panels: Vec<_> = figures
            .names(table)
            .iter()
            .map(|name| Panel::new(table, name, &engines, figures))
            .collect();
        if panels.is_empty() {
            continue;
        }
        let picture = Picture { table, panels };
        let path = |suffix| directory.join(format!("{}.{suffix}", table.key));
        picture.draw(&SVGBackend::new(&path("svg"), picture.size()).into_drawing_area());
        picture.draw(&BitMapBackend::new(&path("png"), picture.size()).into_drawing_area());
    }
}

struct Picture<'a> {
    table: &'a Table,
    panels: Vec<Panel<'a>>,
}

/// One figure, of each engine that has it.
struct Panel<'a> {
    name: &'a str,
    bars: Vec<(&'a str, f64)>,
    scale: Scale,
}

impl<'a> Panel<'a> {
    fn new(table: &Table, name: &'a str, engines: &[&'a str], figures: &Figures) -> Panel<'a> {
        let bar = |engine: &&'a str| Some((*engine, figures.spread(table, engine, name)?.median));
        let bars: Vec<_> = engines.iter().filter_map(bar).collect();
        Panel { name, scale: Scale::of(bars.iter().map(|(_, value)| *value)), bars }
    }

    fn height(&self) -> i32 {
        PANEL_HEAD_HEIGHT + BAR_HEIGHT * self.bars.len() as i32 + GAP
    }
}

/// How long a value's bar is.
enum Scale {
    FromZero {
        most: f64,
    },
    /// From one power of ten on.
    Logarithmic {
        power: i32,
        most: f64,
    },
}

impl Scale {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Scale {
        let most = values.clone().fold(0.0, f64::max);
        let least = values.filter(|value| *value > 0.0).fold(f64::MAX, f64::min);
        if most < least * LOGARITHMIC_FROM {
            return Scale::FromZero { most };
        }
        // A little lower, so that the shortest bar can be seen.
        Scale::Logarithmic { power: (least.log10() - 0.1).floor() as i32, most }
    }

    /// As a share of the longest.
    fn share(&self, value: f64) -> f64 {
        match *self {
            _ if value <= 0.0 => 0.0,
            Scale::FromZero { most } => value / most,
            Scale::Logarithmic { power, most } => {
                let power = f64::from(power);
                ((value.log10() - power) / (most.log10() - power)).max(0.0)
            }
        }
    }

    /// Where a line across the bars helps: the powers of ten.
    fn marks(&self) -> Vec<f64> {
        match *self {
            Scale::FromZero { .. } => Vec::new(),
            Scale::Logarithmic { power, most } => {
                (power + 1..).map(|n| 10_f64.powi(n)).take_while(|mark| *mark <= most).collect()
            }
        }
    }

    fn in_words(&self) -> &'static str {
        match self {
            Scale::FromZero { .. } => "",
            Scale::Logarithmic { .. } => " (logarithmic)",
        }
    }
}

impl Picture<'_> {
    fn rows(&self) -> impl Iterator<Item = &[Panel<'_>]> {
        self.panels.chunks(COLUMNS)
    }

    fn size(&self) -> (u32, u32) {
        let height = |row: &[Panel<'_>]| row.iter().map(Panel::height).max().unwrap_or(0);
        let height = TITLE_HEIGHT + self.rows().map(height).sum::<i32>();
        ((PANEL_WIDTH * COLUMNS as i32) as u32, height as u32)
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) {
        let pen = Pen(area);
        area.fill(&WHITE).expect("drawn");
        let better = match self.table.better {
            Better::High => "longer is better",
            Better::Low => "shorter is better",
        };
        pen.text(self.table.title, (GAP, 22), 20.0, FontStyle::Bold, HPos::Left);
        pen.text(better, (GAP, 46), 14.0, FontStyle::Normal, HPos::Left);
        let mut top = TITLE_HEIGHT;
        for row in self.rows() {
            for (n, panel) in row.iter().enumerate() {
                pen.panel(panel, (n as i32 * PANEL_WIDTH, top));
            }
            top += row.iter().map(Panel::height).max().unwrap_or(0);
        }
        area.present().expect("written");
    }
}

struct Pen<'a, B: DrawingBackend>(&'a DrawingArea<B, Shift>);

impl<B: DrawingBackend> Pen<'_, B> {
    fn panel(&self, panel: &Panel<'_>, (left, top): (i32, i32)) {
        let head = format!("{}{}", panel.name, panel.scale.in_words());
        self.text(&head, (left + GAP, top + 12), 14.0, FontStyle::Bold, HPos::Left);
        let first = top + PANEL_HEAD_HEIGHT;
        let last = first + BAR_HEIGHT * panel.bars.len() as i32;
        let bars = left + BARS_AT;
        let end = |value| bars + (panel.scale.share(value) * f64::from(BARS_WIDTH)) as i32;
        for mark in panel.scale.marks() {
            let line = PathElement::new([(end(mark), first), (end(mark), last)], FAINT);
            self.0.draw(&line).expect("drawn");
        }
        for (n, (engine, value)) in panel.bars.iter().enumerate() {
            let top = first + BAR_HEIGHT * n as i32;
            let middle = top + BAR_HEIGHT / 2;
            let colour = match *engine {
                "filmstrip" => OWN,
                "raw file" => LIMIT,
                _ => PEER,
            };
            self.rectangle((bars, top + 2), (end(*value), top + BAR_HEIGHT - 3), colour);
            self.text(engine, (bars - 8, middle), 14.0, FontStyle::Normal, HPos::Right);
            let at = (end(*value) + 6, middle);
            self.text(&show(*value), at, 14.0, FontStyle::Normal, HPos::Left);
        }
    }

    fn rectangle(&self, from: (i32, i32), to: (i32, i32), colour: RGBColor) {
        self.0.draw(&Rectangle::new([from, to], colour.filled())).expect("drawn");
    }

    /// The size is even: with an odd one the letters of a word stand on two lines, half a dot apart.
    fn text(&self, text: &str, at: (i32, i32), size: f64, style: FontStyle, from: HPos) {
        let font = FontDesc::new(FontFamily::SansSerif, size, style);
        let style = TextStyle::from(font).color(&INK).pos(Pos::new(from, VPos::Center));
        self.0.draw(&Text::new(text.to_owned(), at, style)).expect("drawn");
    }
}
