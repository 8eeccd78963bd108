use std::fmt::{self, Display};

/// A table that scrolls on narrow screens. The first cell of a row is its heading.
pub(super) struct Table<'t> {
    /// What it shows, for those who do not see it.
    pub(super) label: &'t str,
    /// The headings.
    pub(super) columns: &'t [Column<'t>],
    /// The cells, marked up.
    pub(super) rows: Vec<Vec<String>>,
}

/// A column of a table.
#[derive(Clone, Copy)]
pub(super) enum Column<'t> {
    /// Texts under a marked-up heading.
    Text(&'t str),
    /// Numbers under a marked-up heading.
    Number(&'t str),
    /// Digests.
    Digest(&'t str),
}

impl Display for Table<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "<div class=\"wide\" role=\"region\" aria-label=\"{}\" tabindex=\"0\">\n<table>\n<thead><tr>",
            self.label
        )?;
        for column in self.columns {
            let (class, name) = column.class_and_name();
            write!(formatter, "<th scope=\"col\"{class}>{name}</th>")?;
        }
        writeln!(formatter, "</tr></thead>\n<tbody>")?;
        for row in &self.rows {
            write!(formatter, "<tr>")?;
            for (place, (cell, column)) in row.iter().zip(self.columns).enumerate() {
                let (class, _) = column.class_and_name();
                match place {
                    0 => write!(formatter, "<th scope=\"row\"{class}>{cell}</th>")?,
                    _ => write!(formatter, "<td{class}>{cell}</td>")?,
                }
            }
            writeln!(formatter, "</tr>")?;
        }
        writeln!(formatter, "</tbody>\n</table>\n</div>")
    }
}

impl<'t> Column<'t> {
    fn class_and_name(self) -> (&'static str, &'t str) {
        match self {
            Self::Text(name) => ("", name),
            Self::Number(name) => (" class=\"number\"", name),
            Self::Digest(name) => (" class=\"digest\"", name),
        }
    }
}
