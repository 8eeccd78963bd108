//! Common table expressions and other subqueries in FROM.

use sqlparser::ast;

use super::names::folded;
use super::resolve::{Resolver, understood};
use super::tree::{
    Body, ColumnNames, DerivedQuery, Expression, NotUnderstood, Query, Select, SharedQuery, Source,
    Understood,
};

pub(super) struct Definition<'a> {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    pub(super) query: &'a ast::Query,
    /// How many scopes and frames its body sees.
    pub(super) scopes: usize,
    pub(super) frames: usize,
    pub(super) state: DefinitionState,
}

#[derive(Clone, Copy)]
pub(super) enum DefinitionState {
    Unused,
    InProgress,
    Resolved(usize),
}

impl<'a> Resolver<'a> {
    pub(super) fn define(&mut self, with: &'a ast::With) -> Understood<()> {
        let mut frame = Vec::new();
        for table in &with.cte_tables {
            understood(table.from.is_none() && table.alias.at.is_none())?;
            let columns = &table.alias.columns;
            understood(columns.iter().all(|column| column.data_type.is_none()))?;
            let name = folded(&table.alias.name)?;
            let twice = frame.iter().any(|&number: &usize| {
                self.definitions.get(number).is_some_and(|other| other.name == name)
            });
            understood(!twice)?;
            frame.push(self.definitions.len());
            self.definitions.push(Definition {
                name,
                columns: columns
                    .iter()
                    .map(|column| folded(&column.name))
                    .collect::<Understood<_>>()?,
                query: &table.query,
                scopes: self.scopes.len(),
                frames: self.frames.len() + 1,
                state: DefinitionState::Unused,
            });
        }
        self.frames.push(frame);
        Ok(())
    }

    /// The common table expression of a name, resolved when it is first used.
    pub(super) fn shared(
        &mut self,
        name: &str,
    ) -> Understood<Option<(Source, Option<ColumnNames>)>> {
        let position = self.frames.iter().rev().flatten().copied().find(|&position| {
            self.definitions.get(position).is_some_and(|definition| definition.name == name)
        });
        let Some(position) = position else { return Ok(None) };
        let definition = self.definitions.get_mut(position).ok_or(NotUnderstood)?;
        let number = match definition.state {
            DefinitionState::Resolved(number) => number,
            // A query that names itself is recursive in SQLite, with RECURSIVE or without.
            DefinitionState::InProgress => return Err(NotUnderstood),
            DefinitionState::Unused => {
                definition.state = DefinitionState::InProgress;
                let (body, columns) = (definition.query, definition.columns.clone());
                let (scopes, frames) = (definition.scopes, definition.frames);
                let hidden_scopes = self.scopes.split_off(scopes.min(self.scopes.len()));
                let hidden_frames = self.frames.split_off(frames.min(self.frames.len()));
                let result = self.query(body);
                self.scopes.extend(hidden_scopes);
                self.frames.extend(hidden_frames);
                let (query, mut names) = result?;
                if !columns.is_empty() {
                    let known = derived_columns(&query.body, &names).is_some();
                    understood(known && columns.len() == names.len())?;
                    names = columns.into_iter().map(Some).collect();
                }
                let number = self.arena.shared.len();
                let (query, _) = derived(query, names.clone());
                self.arena.shared.push(SharedQuery { query, names, uses: 0 });
                let definition = self.definitions.get_mut(position).ok_or(NotUnderstood)?;
                definition.state = DefinitionState::Resolved(number);
                number
            }
        };
        let shared = self.arena.shared.get_mut(number).ok_or(NotUnderstood)?;
        shared.uses += 1;
        let columns = derived_columns(&shared.query.query.body, &shared.names);
        Ok(Some((Source::Shared(number), columns)))
    }
}

/// The names of a query's columns, unless some are not known for want of a schema.
fn derived_columns(body: &Body, names: &[Option<String>]) -> Option<ColumnNames> {
    let known = match body {
        Body::Select(select) => is_known(select),
        Body::Compound(compound) => {
            compound.rest.iter().all(is_known) && derived_columns(&compound.first, names).is_some()
        }
    };
    known.then(|| names.to_vec())
}

fn is_known(select: &Select) -> bool {
    !select.items.iter().any(|item| matches!(item, Expression::AllColumns(_)))
}

pub(super) fn derived(query: Query, names: ColumnNames) -> (DerivedQuery, Option<ColumnNames>) {
    let columns = derived_columns(&query.body, &names);
    let names = if columns.is_some() { Vec::new() } else { names };
    (DerivedQuery { query, names }, columns)
}
