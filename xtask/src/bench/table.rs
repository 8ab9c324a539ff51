//! A table that is read in a terminal and is Markdown too.

use std::fmt;

/// Rows of cells below a head; all rows have as many cells as it.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in self.rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // What is compared stands in a column of its own: the first is words, the others are numbers.
                if column == 0 { write!(f, "| {cell:width$} ")? } else { write!(f, "| {cell:>width$} ")? }
            }
            writeln!(f, "|")?;
            if index == 0 {
                for (column, width) in widths.iter().enumerate() {
                    write!(f, "|{}{}", "-".repeat(width + 1), if column == 0 { "-" } else { ":" })?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// A number as short as it is telling.
pub(crate) fn short(value: f64) -> String {
    let places = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_lined_up() {
        let mut table = Table::new(&["what", "n"]);
        table.row(["a".to_owned(), "100".to_owned()]);
        assert_eq!(table.to_string(), "| what |   n |\n|------|----:|\n| a    | 100 |\n");
    }

    #[test]
    fn numbers_have_three_digits_that_tell() {
        assert_eq!([1234.56, 99.0, 2.0199, 0.1254].map(short), ["1235", "99.0", "2.02", "0.125"]);
    }
}
