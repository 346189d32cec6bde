//! Columns of text: what summaries and listings are set in.

/// Which side of its column a cell keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Names.
    Left,
    /// Numbers.
    Right,
}

/// Changes a finished line, such as by colour; widths are counted before it.
type Paint = Box<dyn FnOnce(&str) -> String>;

/// A table in the making.
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<(Vec<String>, Option<Paint>)>,
}

impl Table {
    /// A table with these columns. A table whose columns have no names has no head line.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let columns = columns
            .iter()
            .map(|(name, align)| ((*name).to_owned(), *align))
            .collect();
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a column at the right.
    pub fn column(&mut self, name: &str, align: Align) {
        self.columns.push((name.to_owned(), align));
    }

    /// Adds a row; cells beyond the columns are left out.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push((cells, None));
    }

    /// Lets `paint` finish the line of the last row.
    pub fn paint_last(&mut self, paint: impl FnOnce(&str) -> String + 'static) {
        if let Some((_, slot)) = self.rows.last_mut() {
            *slot = Some(Box::new(paint));
        }
    }

    /// The lines, each indented by `indent` spaces, without blanks at their ends.
    pub fn render(self, indent: usize) -> String {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|index| {
                let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(index));
                cells
                    .map(|cell| width(cell))
                    .chain([width(&self.columns[index].0)])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let set = |cells: &[String]| {
            let mut line = String::new();
            for ((cell, (_, align)), width) in cells.iter().zip(&self.columns).zip(&widths) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                let blank = " ".repeat(width - self::width(cell));
                let (left, right) = if *align == Align::Right {
                    (blank.as_str(), "")
                } else {
                    ("", blank.as_str())
                };
                line.push_str(left);
                line.push_str(cell);
                line.push_str(right);
            }
            line
        };
        let margin = " ".repeat(indent);
        let mut out = String::new();
        let mut push = |line: &str| {
            out.push_str(&margin);
            out.push_str(line.trim_end());
            out.push('\n');
        };
        let names: Vec<_> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        if names.iter().any(|name| !name.is_empty()) {
            push(&set(&names));
        }
        for (cells, paint) in self.rows {
            let line = set(&cells);
            match paint {
                Some(paint) => push(&paint(&line)),
                None => push(&line),
            }
        }
        out
    }
}

/// Characters, which is what a terminal shows for the names that plans have.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::{Align, Table};

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("name", Align::Left), ("runs", Align::Right)]);
        table.row(vec!["a".to_owned(), "1".to_owned()]);
        table.row(vec!["longer é".to_owned(), "1,000".to_owned()]);
        table.paint_last(|text| format!("[{text}]"));
        assert_eq!(
            table.render(1),
            " name       runs\n a             1\n [longer é  1,000]\n"
        );
    }
}
