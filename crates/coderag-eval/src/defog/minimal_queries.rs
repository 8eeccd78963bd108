use std::vec;

use crate::python_text::strip;
use crate::{Error, Result};

/// The most columns that braces may list: 20 have 1,048,575 subsets.
pub const MAX_BRACED_COLUMNS: usize = 20;

/// The gold queries that a question's `query` field stands for, as the official
/// `get_all_minimal_queries` lists them: it is split by semicolons, and the first braces of each
/// part, as in `SELECT {id, name} FROM rider GROUP BY {}`, are replaced by each subset of the
/// columns listed in them, the small ones first; `GROUP BY {}` after them takes the same subset.
///
/// As there, a semicolon, brace or comma counts wherever it stands, inside a string too. The
/// queries are made one by one, since braces with n columns stand for 2^n - 1 of them.
///
/// # Errors
/// [`Error::TooManyBracedColumns`] when braces list more than [`MAX_BRACED_COLUMNS`].
pub fn minimal_queries(gold: &str) -> Result<MinimalQueries<'_>> {
    let parts = gold
        .split(';')
        .map(strip)
        .filter(|part| !part.is_empty())
        .map(Part::of)
        .collect::<Result<Vec<_>>>()?;
    Ok(MinimalQueries { parts: parts.into_iter(), current: None })
}

/// The queries of [`minimal_queries`], made as they are asked for.
#[derive(Clone, Debug)]
pub struct MinimalQueries<'a> {
    parts: vec::IntoIter<Part<'a>>,
    current: Option<(Part<'a>, Subset)>,
}

#[derive(Clone, Debug)]
struct Part<'a> {
    left: &'a str,
    /// `None` for a query without braces, which is all in `left`.
    braced: Option<Braced<'a>>,
}

#[derive(Clone, Debug)]
struct Braced<'a> {
    columns: Vec<&'a str>,
    right: &'a str,
}

/// The positions chosen, ascending.
type Subset = Vec<usize>;

impl<'a> Part<'a> {
    fn of(query: &'a str) -> Result<Self> {
        let Some((left, (inside, right))) =
            query.split_once('{').and_then(|(left, rest)| Some((left, rest.split_once('}')?)))
        else {
            return Ok(Self { left: query, braced: None });
        };
        let columns: Vec<_> = inside.split(',').collect();
        if columns.len() > MAX_BRACED_COLUMNS {
            return Err(Error::TooManyBracedColumns {
                columns: columns.len(),
                limit: MAX_BRACED_COLUMNS,
                query: query.to_owned(),
            });
        }
        Ok(Self { left, braced: Some(Braced { columns, right }) })
    }
}

impl Braced<'_> {
    fn query(&self, left: &str, subset: &[usize]) -> String {
        let chosen: Vec<_> =
            subset.iter().filter_map(|&at| self.columns.get(at).copied()).collect();
        let chosen = chosen.join(", ");
        let right = self.right.replace("GROUP BY {}", &format!("GROUP BY {chosen}"));
        format!("{left}{chosen}{right}")
    }

    /// The subset after this one in the order of Python's `itertools.combinations`, and after the
    /// last one of a size the first one with one column more.
    fn after(&self, mut subset: Subset) -> Option<Subset> {
        let (count, size) = (self.columns.len(), subset.len());
        // The last place that can still move on, with all those after it behind it.
        let place = subset.iter().enumerate().rposition(|(place, &at)| at + size < count + place);
        match place {
            Some(place) => {
                let moved = subset.get(place).map_or(0, |at| at + 1);
                subset.truncate(place);
                subset.extend(moved..moved + size - place);
                Some(subset)
            }
            None if size < count => Some((0..=size).collect()),
            None => None,
        }
    }
}

impl Iterator for MinimalQueries<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let (part, subset) = match self.current.take() {
            Some(current) => current,
            None => (self.parts.next()?, vec![0]),
        };
        let Some(braced) = &part.braced else { return Some(part.left.to_owned()) };
        let query = braced.query(part.left, &subset);
        if let Some(next) = braced.after(subset) {
            self.current = Some((part, next));
        }
        Some(query)
    }
}
