//! Texts of queries whose columns and operands still have to be put in order.

use super::keywords::is_keyword;
use super::tree::SetOperator;

/// The names that a query gives to its columns.
#[derive(Clone, Copy)]
pub(super) enum Naming<'a> {
    None,
    Numbered,
    AsWritten(&'a [Option<String>]),
}

/// A SELECT with the numbering that was chosen.
pub(super) struct SelectText {
    pub(super) distinct: bool,
    pub(super) items: Vec<String>,
    /// From FROM on.
    pub(super) tail: String,
}

impl SelectText {
    /// The statement with column `i` at place `ranks[i]`.
    pub(super) fn text(&self, ranks: &[usize], naming: Naming<'_>) -> String {
        let mut items: Vec<(usize, String)> = self
            .items
            .iter()
            .enumerate()
            .map(|(position, item)| {
                let rank = ranks.get(position).copied().unwrap_or(position);
                let name = match naming {
                    Naming::None => None,
                    Naming::Numbered => Some(numbered(rank)),
                    Naming::AsWritten(names) => {
                        names.get(position).cloned().flatten().map(|name| quoted(&name))
                    }
                };
                let text = match name {
                    Some(name) => format!("{item} AS {name}"),
                    None => item.clone(),
                };
                (rank, text)
            })
            .collect();
        items.sort_unstable();
        let items: Vec<String> = items.into_iter().map(|(_, item)| item).collect();
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        format!("SELECT {distinct}{}{}", items.join(", "), self.tail)
    }
}

/// The operands of a compound.
pub(super) struct Operands {
    pub(super) operator: SetOperator,
    pub(super) first: Operand,
    pub(super) rest: Vec<SelectText>,
}

pub(super) enum Operand {
    Select(SelectText),
    Compound(Box<Operands>),
}

impl Operands {
    /// What each column is in all of the operands, in a form that does not depend on their order.
    pub(super) fn columns(&self) -> Vec<String> {
        let mut columns: Vec<Vec<String>> = Vec::new();
        self.collect(&mut columns);
        columns
            .into_iter()
            .map(|mut column| {
                column.sort_unstable();
                column.join(", ")
            })
            .collect()
    }

    pub(super) fn collect(&self, columns: &mut Vec<Vec<String>>) {
        let mut add = |select: &SelectText| {
            columns.resize_with(columns.len().max(select.items.len()), Vec::new);
            for (column, item) in columns.iter_mut().zip(&select.items) {
                column.push(item.clone());
            }
        };
        self.rest.iter().for_each(&mut add);
        match &self.first {
            Operand::Select(select) => add(select),
            Operand::Compound(operands) => operands.collect(columns),
        }
    }

    /// Operands that may change places are sorted; one that is itself a compound can only stand
    /// first in SQLite.
    pub(super) fn text(&self, ranks: &[usize], naming: Naming<'_>) -> String {
        let (word, commutes) = match self.operator {
            SetOperator::Union => (" UNION ", true),
            SetOperator::UnionAll => (" UNION ALL ", true),
            SetOperator::Intersect => (" INTERSECT ", true),
            SetOperator::Except => (" EXCEPT ", false),
        };
        let mut rest: Vec<String> =
            self.rest.iter().map(|select| select.text(ranks, naming)).collect();
        let first = match &self.first {
            Operand::Select(select) if commutes => {
                rest.push(select.text(ranks, naming));
                None
            }
            Operand::Select(select) => Some(select.text(ranks, naming)),
            Operand::Compound(operands) => Some(operands.text(ranks, naming)),
        };
        rest.sort_unstable();
        let operands: Vec<String> = first.into_iter().chain(rest).collect();
        operands.join(word)
    }
}

/// The place of each text in the order of the texts.
pub(super) fn ranks(texts: &[String]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..texts.len()).collect();
    places.sort_by_key(|&place| texts.get(place));
    let mut ranks = vec![0; texts.len()];
    for (rank, place) in places.into_iter().enumerate() {
        if let Some(slot) = ranks.get_mut(place) {
            *slot = rank;
        }
    }
    ranks
}

pub(super) fn in_order(texts: &[String]) -> Vec<usize> {
    (0..texts.len()).collect()
}

pub(super) fn numbered(rank: usize) -> String {
    format!("c{}", rank + 1)
}

/// The name as SQLite reads it in any place.
pub(super) fn quoted(name: &str) -> String {
    let plain =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
            && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
            && !is_keyword(name);
    if plain { name.to_owned() } else { format!("`{}`", name.replace('`', "``")) }
}

/// Functions may have the name of a keyword (`replace`, `glob`, `like`).
pub(super) fn quoted_function(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { name.to_owned() } else { quoted(name) }
}
