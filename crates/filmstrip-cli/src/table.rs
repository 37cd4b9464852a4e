//! Tables of text.

use crate::fault::Fault;
use crate::out::{Out, Style};
use crate::text::{columns, escaped};

/// On which side of its column a cell is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Rows of cells, as wide as the widest in each column. All rows are in memory: their number is to have a limit.
pub(crate) struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Side)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. What a terminal may act on is escaped.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len(), "a cell for each column");
        self.rows.push(cells.iter().map(|cell| escaped(cell).into_owned()).collect());
    }

    pub(crate) fn print(&self, out: &mut Out) -> Result<(), Fault> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| columns(&row[column]));
            cells.chain([columns(self.columns[column].0)]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let titles: Vec<String> =
            self.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        let titles = self.aligned(&titles, &widths);
        out.line(out.styled(Style::Faint, &titles))?;
        self.rows.iter().try_for_each(|row| out.line(self.aligned(row, &widths)))
    }

    fn aligned(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), (_, side)) in cells.iter().zip(widths).zip(&self.columns) {
            let space = " ".repeat(width - columns(cell));
            match side {
                Side::Left => line += &format!("{cell}{space}  "),
                Side::Right => line += &format!("{space}{cell}  "),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}
