//! What people and programs read on standard output.

use std::io::{IsTerminal as _, Write, stderr, stdout};

use anyhow::Result;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

/// Prints `error: ...` with every cause on standard error.
pub(crate) fn error(error: &anyhow::Error) {
    let label = if stderr().is_terminal() { "\x1b[1;31merror\x1b[0m" } else { "error" };
    // Nothing is left to do when even standard error is closed.
    let _ = writeln!(stderr(), "{label}: {error:#}");
}

/// Prints a line.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<()> {
    Ok(writeln!(stdout().lock(), "{text}")?)
}

/// Prints a line on standard error.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(stderr().lock(), "{text}");
}

/// Prints a value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let mut stdout = stdout().lock();
    serde_json::to_writer_pretty(&mut stdout, value)?;
    Ok(writeln!(stdout)?)
}

/// Prints a value as one line of JSON.
pub(crate) fn json_line(value: &impl Serialize) -> Result<()> {
    let mut stdout = stdout().lock();
    serde_json::to_writer(&mut stdout, value)?;
    Ok(writeln!(stdout)?)
}

/// The text with control characters but line ends spelt out, so that what a database or a model wrote
/// cannot steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// Prints aligned columns under a header; the columns in `right` are aligned to the right.
pub(crate) fn table(header: &[String], rows: &[Vec<String>], right: &[usize]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.iter().map(|name| printable(name)));
    table.add_rows(rows.iter().map(|row| row.iter().map(|cell| printable(cell))));
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.to_string().lines() {
        // The first column needs no padding before it.
        self::line(line.strip_prefix(' ').unwrap_or(line).trim_end())?;
    }
    Ok(())
}

/// Prints rows as CSV under a header.
pub(crate) fn csv(header: &[String], rows: &[Vec<String>]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(stdout().lock());
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(writer.flush()?)
}
