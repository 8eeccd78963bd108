use std::fmt::{self, Display};

use coderag_eval::report::markup::{Count, Escaped, Percent};

use super::table::{Column, Table};

/// A part of a whole, 0 of an empty one.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A share from 0 to 1 as a bar, as decoration: its figure stands beside.
pub(super) struct Bar(pub(super) f64);

impl Display for Bar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "<span class=\"track\" aria-hidden=\"true\"><span class=\"bar metric-0\" style=\"--share:{:.4}\"></span></span>",
            self.0.clamp(0.0, 1.0)
        )
    }
}

/// How many rows have which value of something.
pub(super) struct Bars<'b> {
    /// What they are counted by.
    pub(super) title: &'b str,
    /// The values and their counts, in the order in which they are shown.
    pub(super) counts: Vec<(String, u64)>,
    /// All rows, those without a value included.
    pub(super) whole: u64,
}

/// Further values are counted together.
const MOST_VALUES: usize = 25;

impl Display for Bars<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = |name: String, count: u64| {
            let share = share(count, self.whole);
            vec![
                name,
                Count(count as usize).to_string(),
                format!("{}{}", Percent(share), Bar(share)),
            ]
        };
        let (shown, others) = self.counts.split_at(self.counts.len().min(MOST_VALUES));
        let mut rows: Vec<Vec<String>> =
            shown.iter().map(|(name, count)| cells(Escaped(name).to_string(), *count)).collect();
        if !others.is_empty() {
            let count = others.iter().map(|(_, count)| count).sum();
            rows.push(cells(format!("<em>{} others</em>", Count(others.len())), count));
        }
        let title = Escaped(self.title).to_string();
        let columns = [Column::Text(&title), Column::Number("rows"), Column::Number("share")];
        let label = format!("Rows by {title}");
        Table { label: &label, columns: &columns, rows }.fmt(formatter)
    }
}
