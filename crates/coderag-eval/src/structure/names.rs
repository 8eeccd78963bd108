//! What names mean: columns of the relations that can be seen, output columns, strings.

use std::collections::HashSet;

use sqlparser::ast;

use super::keywords::is_reserved;
use super::resolve::{Resolver, understood};
use super::tree::{
    Column, ColumnNames, Expression, NotUnderstood, Relation, RelationId, Source, Understood,
};

/// The most expressions that references to output columns may copy.
const COPY_LIMIT: usize = 20_000;

/// What names mean in one SELECT.
#[derive(Clone, Default)]
pub(super) struct Scope {
    pub(super) relations: Vec<Visible>,
    /// The output columns that were given a name by AS, once they may be referred to.
    pub(super) aliases: Vec<(String, Expression)>,
}

#[derive(Clone)]
pub(super) struct Visible {
    pub(super) name: Option<String>,
    pub(super) relation: RelationId,
    /// Columns joined by USING, which only a qualified name reaches.
    pub(super) hidden: HashSet<String>,
}

/// The name in lower case. sqlparser takes some words for names, above all for names without AS,
/// that SQLite never does unless they are quoted.
pub(super) fn folded(identifier: &ast::Ident) -> Understood<String> {
    let name = identifier.value.to_ascii_lowercase();
    understood(identifier.quote_style.is_some() || !is_reserved(&name))?;
    Ok(name)
}

/// The only part of a name that has one.
pub(super) fn simple_name(name: &ast::ObjectName) -> Understood<&ast::Ident> {
    match name.0.as_slice() {
        [part] => part.as_ident().ok_or(NotUnderstood),
        _ => Err(NotUnderstood),
    }
}

fn is_row_id(name: &str) -> bool {
    matches!(name, "rowid" | "oid" | "_rowid_")
}

impl Scope {
    pub(super) fn find_alias(&self, name: &str) -> Option<&Expression> {
        self.aliases.iter().find(|(alias, _)| alias == name).map(|(_, value)| value)
    }
}

impl Resolver<'_> {
    /// What an unqualified name means, by SQLite's rules: a column of the innermost FROM clause
    /// that has one, else an output column's name, else the same one query further out, else, in
    /// double quotes, a string.
    pub(super) fn name(&mut self, identifier: &ast::Ident) -> Understood<Expression> {
        let name = folded(identifier)?;
        let double_quoted = identifier.quote_style == Some('"');
        let mut unnamed = false;
        for (depth, scope) in self.scopes.iter().enumerate().rev() {
            let mut found = Vec::new();
            let mut unknown = false;
            for visible in &scope.relations {
                let relation = self.arena.relations.get(visible.relation).ok_or(NotUnderstood)?;
                match &relation.columns {
                    None => unknown = true,
                    Some(columns) => {
                        unnamed |= columns.iter().any(Option::is_none);
                        if !visible.hidden.contains(&name) {
                            found.extend(self.column(visible.relation, &name));
                        }
                    }
                }
            }
            if found.len() > 1 {
                return Err(NotUnderstood);
            }
            if let Some(column) = found.pop() {
                return Ok(column);
            }
            let alias = scope.find_alias(&name).cloned();
            if unknown {
                // It may be a name further out, which must not be one that the canonical text
                // changes.
                let around = self.scopes.get(..=depth).unwrap_or_default();
                understood(!around.iter().any(|scope| self.may_rename(scope, &name)))?;
                return Ok(match scope.relations.as_slice() {
                    [only] if depth == 0 && !double_quoted => {
                        Expression::Column { relation: only.relation, column: Column::Name(name) }
                    }
                    // What may be a string keeps its case.
                    _ if double_quoted => {
                        Expression::Unresolved { name: identifier.value.clone(), double_quoted }
                    }
                    _ => Expression::Unresolved { name, double_quoted },
                });
            }
            if let Some(value) = alias {
                self.copy(&value)?;
                return Ok(value);
            }
            if is_row_id(&name) && !scope.relations.is_empty() {
                return match scope.relations.as_slice() {
                    [only] if self.is_table(only.relation) => Ok(Expression::Column {
                        relation: only.relation,
                        column: Column::Name(name),
                    }),
                    _ => Err(NotUnderstood),
                };
            }
        }
        // A column of a subquery without AS is called as its expression is written.
        understood(double_quoted && !unnamed)?;
        Ok(Expression::text(&identifier.value))
    }

    /// What `table.name` means.
    pub(super) fn qualified_name(&mut self, parts: &[ast::Ident]) -> Understood<Expression> {
        let [table, name] = parts else { return Err(NotUnderstood) };
        let (table, name) = (folded(table)?, folded(name)?);
        for scope in self.scopes.iter().rev() {
            let mut found = Vec::new();
            for visible in &scope.relations {
                if visible.name.as_ref() != Some(&table) {
                    continue;
                }
                let relation = self.arena.relations.get(visible.relation).ok_or(NotUnderstood)?;
                let column = if relation.columns.is_none()
                    || (is_row_id(&name) && self.is_table(visible.relation))
                {
                    Some(Expression::Column {
                        relation: visible.relation,
                        column: Column::Name(name.clone()),
                    })
                } else {
                    self.column(visible.relation, &name)
                };
                found.extend(column);
            }
            match found.len() {
                0 => {}
                1 => return found.pop().ok_or(NotUnderstood),
                _ => return Err(NotUnderstood),
            }
        }
        Err(NotUnderstood)
    }

    /// The output column of the innermost SELECT that was named so by AS.
    pub(super) fn alias(&mut self, name: &str) -> Understood<Option<Expression>> {
        let aliased = self.scopes.last().and_then(|scope| scope.find_alias(name)).cloned();
        if let Some(value) = &aliased {
            self.copy(value)?;
        }
        Ok(aliased)
    }

    /// Accounts for a copy, so that references to references cannot grow without bound.
    pub(super) fn copy(&mut self, value: &Expression) -> Understood<()> {
        self.copied += value.size();
        understood(self.copied <= COPY_LIMIT)
    }

    pub(super) fn all_columns(
        &self,
        visible: &Visible,
        without_hidden: bool,
        items: &mut Vec<Expression>,
        names: &mut ColumnNames,
    ) -> Understood<()> {
        let relation = self.arena.relations.get(visible.relation).ok_or(NotUnderstood)?;
        let Some(columns) = &relation.columns else {
            understood(visible.hidden.is_empty())?;
            items.push(Expression::AllColumns(visible.relation));
            names.push(None);
            return Ok(());
        };
        for (position, name) in columns.iter().enumerate() {
            let hidden = name.as_ref().is_some_and(|name| visible.hidden.contains(name));
            if hidden && without_hidden {
                continue;
            }
            let column = match (&relation.source, name) {
                (Source::Table(_), Some(name)) => Column::Name(name.clone()),
                _ => Column::Position(position),
            };
            items.push(Expression::Column { relation: visible.relation, column });
            names.push(name.clone());
        }
        Ok(())
    }

    /// The name that SQLite gives to an output column without AS, where it is a column's.
    pub(super) fn column_name(&self, value: &Expression) -> Option<String> {
        match value {
            Expression::Column { relation, column } => {
                let columns = self.arena.relations.get(*relation)?.columns.as_ref();
                match column {
                    Column::Position(position) => columns?.get(*position)?.clone(),
                    Column::Name(name) => {
                        let known = columns
                            .is_none_or(|columns| columns.iter().flatten().any(|c| c == name));
                        (known && !is_row_id(name)).then(|| name.clone())
                    }
                }
            }
            Expression::Unresolved { name, double_quoted: false } => Some(name.clone()),
            _ => None,
        }
    }

    /// Whether the name is one that a query gave to a column.
    pub(super) fn may_rename(&self, scope: &Scope, name: &str) -> bool {
        scope.find_alias(name).is_some()
            || scope.relations.iter().any(|visible| {
                !self.is_table(visible.relation) && self.column(visible.relation, name).is_some()
            })
    }

    pub(super) fn is_table(&self, relation: RelationId) -> bool {
        let source = self.arena.relations.get(relation).map(|relation| &relation.source);
        matches!(source, Some(Source::Table(_)))
    }

    /// The column of a relation with known columns; of several the first, as in SQLite.
    pub(super) fn column(&self, relation: RelationId, name: &str) -> Option<Expression> {
        let Relation { source, columns } = self.arena.relations.get(relation)?;
        let position =
            columns.as_ref()?.iter().position(|column| column.as_deref() == Some(name))?;
        let column = match source {
            Source::Table(_) => Column::Name(name.to_owned()),
            Source::Derived(_) | Source::Shared(_) => Column::Position(position),
        };
        Some(Expression::Column { relation, column })
    }
}
