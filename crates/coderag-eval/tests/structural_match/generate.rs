//! Random queries over a little database of our own: what a query says is drawn from one source of
//! random numbers, how it is written from another, so that one query can be had in many spellings.

use std::fmt::Write as _;

use rusqlite::Connection;

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }

    pub(crate) fn word<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Text,
}

use Kind::{Number, Text};

pub(crate) const TABLES: [(&str, &[(&str, Kind)]); 4] = [
    ("star", &[("id", Number), ("name", Text), ("class", Text), ("age", Number)]),
    (
        "planet",
        &[("id", Number), ("name", Text), ("mass", Number), ("moons", Number), ("star_id", Number)],
    ),
    (
        "probe",
        &[
            ("id", Number),
            ("title", Text),
            ("year", Number),
            ("planet_id", Number),
            ("cost", Number),
        ],
    ),
    ("visit", &[("probe_id", Number), ("planet_id", Number), ("year", Number), ("note", Text)]),
];

/// A table and a column.
type Place = (usize, &'static str);

/// The tables that join, with their columns.
const EDGES: [(Place, Place); 6] = [
    ((1, "star_id"), (0, "id")),
    ((2, "planet_id"), (1, "id")),
    ((3, "probe_id"), (2, "id")),
    ((3, "planet_id"), (1, "id")),
    ((2, "year"), (3, "year")),
    ((0, "age"), (1, "moons")),
];

const WORDS: [&str; 6] = ["red", "blue", "Red", "1", "a'b", ""];

/// The database; `variant` changes the order of the rows and of unordered results only.
pub(crate) fn database(seed: u64, variant: u64) -> Connection {
    let mut random = Random(seed);
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch(
            "CREATE TABLE star (id INTEGER PRIMARY KEY, name TEXT, class TEXT, age INTEGER);
             CREATE TABLE planet (id INTEGER PRIMARY KEY, name TEXT, mass REAL, moons INTEGER,
                                  star_id INTEGER);
             CREATE TABLE probe (id INTEGER PRIMARY KEY, title TEXT, year INTEGER,
                                 planet_id INTEGER, cost REAL);
             CREATE TABLE visit (probe_id INTEGER, planet_id INTEGER, year INTEGER, note TEXT);",
        )
        .unwrap();
    let mut rows = Vec::new();
    for (table, columns) in TABLES {
        for row in 1..=5 + random.below(3) {
            let values: Vec<String> = columns
                .iter()
                .map(|(name, kind)| match (*name, kind) {
                    ("id", _) => row.to_string(),
                    _ if random.one_in(6) => "NULL".to_owned(),
                    (_, Text) => text(random.word(&WORDS)),
                    ("mass" | "cost", _) => format!("{}.5", random.below(4)),
                    _ => random.below(5).to_string(),
                })
                .collect();
            rows.push(format!("INSERT INTO {table} VALUES ({});", values.join(", ")));
        }
    }
    let mut order = Random(variant);
    if variant > 0 {
        order.shuffle(&mut rows);
        connection.execute_batch("PRAGMA reverse_unordered_selects = ON;").unwrap();
    }
    if variant > 1 {
        connection
            .execute_batch(
                "CREATE INDEX a ON planet (star_id, mass DESC); CREATE INDEX b ON visit (year);
                 CREATE INDEX c ON probe (planet_id DESC);",
            )
            .unwrap();
    }
    connection.execute_batch(&rows.concat()).unwrap();
    connection
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A query in one spelling.
pub(crate) struct Generated {
    pub sql: String,
    /// Whether the order of the rows is determined.
    pub is_ordered: bool,
}

/// What the query says comes from `structure`, how it is written from `style`.
pub(crate) fn query(structure: u64, style: u64) -> Generated {
    let mut generator = Generator {
        structure: Random(structure),
        style: Random(style),
        relations: 0,
        with: Vec::new(),
        reusable: Vec::new(),
    };
    let (sql, is_ordered) = generator.statement();
    let mut sql = generator.dress(&sql);
    if generator.style.one_in(3) {
        sql.push_str(generator.style.word(&[";", " ;", " -- done", "\n/* done */"]));
    }
    Generated { sql, is_ordered }
}

struct Generator {
    structure: Random,
    style: Random,
    relations: usize,
    with: Vec<String>,
    /// The definitions in WITH that may be used again.
    reusable: Vec<(String, Vec<(String, Kind)>)>,
}

#[derive(Clone)]
struct Relation {
    /// FROM's text without the alias.
    source: String,
    alias: String,
    /// The table, for the join edges.
    table: Option<usize>,
    columns: Vec<(String, Kind)>,
}

type Scope = Vec<Vec<Relation>>;

/// An expression and whether it stands for itself as an operand.
struct Piece(String, Kind);

impl Generator {
    fn statement(&mut self) -> (String, bool) {
        let scope = Scope::new();
        let (sql, is_ordered) = if self.structure.one_in(6) {
            (self.compound(&scope), false)
        } else {
            self.select(&scope, 2, None)
        };
        if self.with.is_empty() {
            return (sql, is_ordered);
        }
        self.style.shuffle(&mut self.with);
        (format!("WITH {} {sql}", self.with.join(", ")), is_ordered)
    }

    fn compound(&mut self, scope: &Scope) -> String {
        let kinds: Vec<Kind> = (0..1 + self.structure.below(2))
            .map(|_| *self.structure.pick(&[Number, Text]))
            .collect();
        let operator = *self.structure.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]);
        let count = 2 + self.structure.below(2);
        let mut operands: Vec<String> =
            (0..count).map(|_| self.select(scope, 1, Some(&kinds)).0).collect();
        match operator {
            "EXCEPT" => self.style.shuffle(&mut operands[1..]),
            _ => self.style.shuffle(&mut operands),
        }
        operands.join(&format!(" {operator} "))
    }

    /// A SELECT; `kinds` are those of its columns where it must have some.
    fn select(&mut self, around: &Scope, depth: usize, kinds: Option<&[Kind]>) -> (String, bool) {
        self.select_named(around, depth, kinds, &[])
    }

    /// The same, with names for the columns of a subquery in FROM.
    fn select_named(
        &mut self,
        around: &Scope,
        depth: usize,
        kinds: Option<&[Kind]>,
        names: &[String],
    ) -> (String, bool) {
        let count = 1 + self.structure.below(3).min(self.structure.below(3));
        let mut relations: Vec<Relation> = Vec::new();
        let mut conditions = Vec::new();
        let mut edges: Vec<(usize, usize, String, String)> = Vec::new();
        for position in 0..count {
            if position == 0 {
                let relation = self.relation(around, &relations, depth, None);
                relations.push(relation);
                continue;
            }
            // Joined to one of those before, along an edge.
            let other = self.structure.below(position);
            let options: Vec<(usize, &str, &str)> = EDGES
                .iter()
                .flat_map(|(a, b)| [(a, b), (b, a)])
                .filter(|(from, _)| Some(from.0) == relations[other].table)
                .map(|(from, to)| (to.0, from.1, to.1))
                .collect();
            if options.is_empty() {
                let relation = self.relation(around, &relations, depth, None);
                relations.push(relation);
                continue;
            }
            let (table, from, to) = *self.structure.pick(&options);
            let relation = self.relation(around, &relations, depth, Some(table));
            relations.push(relation);
            edges.push((other, position, from.to_owned(), to.to_owned()));
        }
        let outer_join =
            !edges.is_empty() && edges.len() == relations.len() - 1 && self.structure.one_in(4);
        let star = kinds.is_none() && self.structure.one_in(8);
        let mut scope = around.clone();
        scope.push(relations.clone());
        for _ in 0..self.structure.below(3) {
            let condition = self.predicate(&scope, depth, 2);
            conditions.push(condition);
        }
        let from = self.from(&scope, &edges, outer_join, star, &mut conditions);
        let grouped = kinds.is_none() && !star && self.structure.one_in(3);
        let distinct = self.structure.one_in(4);
        let mut items: Vec<String> = Vec::new();
        let mut keys: Vec<String> = Vec::new();
        let mut having = None;
        if grouped {
            for _ in 0..self.structure.below(3) {
                let (relation, column, _) = self.some_column(&scope, None);
                keys.push(self.reference(&scope, relation, &column));
                if self.structure.one_in(4) {
                    keys.pop();
                    let text = self.reference(&scope, relation, &column);
                    keys.push(text);
                } else {
                    items.push(self.reference(&scope, relation, &column));
                }
            }
            for _ in 0..1 + self.structure.below(2) {
                items.push(self.aggregate(&scope));
            }
            if !keys.is_empty() && self.structure.one_in(3) {
                let aggregate = self.aggregate(&scope);
                let bound = self.structure.below(4).to_string();
                let operator = self.structure.below(6);
                having = Some(self.comparison(&aggregate, &bound, operator));
            }
        } else if star {
            items.push(self.star(&scope));
        } else {
            match kinds {
                Some(kinds) => {
                    for kind in kinds {
                        let piece = self.value(&scope, depth, Some(*kind), 1);
                        items.push(piece.0);
                    }
                }
                None => {
                    for _ in 0..1 + self.structure.below(3) {
                        let piece = self.value(&scope, depth, None, 2);
                        items.push(piece.0);
                    }
                }
            }
        }
        let mut sql = "SELECT ".to_owned();
        if distinct {
            sql.push_str("DISTINCT ");
        } else if self.style.one_in(12) {
            sql.push_str("ALL ");
        }
        let named = !star && kinds.is_none();
        let aliases: Vec<Option<String>> = items
            .iter()
            .enumerate()
            .map(|(position, _)| {
                let chosen = (named && self.style.one_in(3)).then(|| format!("out{position}"));
                names.get(position).cloned().or(chosen)
            })
            .collect();
        let listed: Vec<String> = items
            .iter()
            .zip(&aliases)
            .map(|(item, alias)| match alias {
                Some(alias) if self.style.one_in(2) => format!("{item} AS {alias}"),
                Some(alias) => format!("{item} {alias}"),
                None => item.clone(),
            })
            .collect();
        sql.push_str(&listed.join(", "));
        sql.push_str(&from);
        if !conditions.is_empty() {
            self.style.shuffle(&mut conditions);
            write!(sql, " WHERE {}", conditions.join(" AND ")).unwrap();
        }
        if grouped && !keys.is_empty() {
            self.style.shuffle(&mut keys);
            write!(sql, " GROUP BY {}", keys.join(", ")).unwrap();
            if let Some(having) = having {
                write!(sql, " HAVING {having}").unwrap();
            }
        }
        let mut is_ordered = false;
        if kinds.is_none() && !star && self.structure.one_in(3) {
            let mut terms = Vec::new();
            for _ in 0..1 + self.structure.below(2) {
                let position = self.structure.below(items.len());
                terms.push(self.order_term(
                    &items[position],
                    position,
                    aliases[position].as_deref(),
                ));
            }
            // The keys of all relations make the order total.
            if !grouped && !distinct {
                let all_keys =
                    relations.iter().all(|r| r.columns.iter().any(|(name, _)| name == "id"));
                if all_keys && self.structure.one_in(2) {
                    for (position, _) in relations.iter().enumerate() {
                        let id = self.reference(&scope, (around.len(), position), "id");
                        terms.push(id);
                    }
                    is_ordered = true;
                }
            }
            write!(sql, " ORDER BY {}", terms.join(", ")).unwrap();
            if is_ordered && self.structure.one_in(2) {
                let (limit, offset) = (self.structure.below(4), self.structure.below(3));
                let limit = match (offset, self.style.below(3)) {
                    (0, 0) => format!(" LIMIT {limit}"),
                    (_, 1) => format!(" LIMIT {offset}, {limit}"),
                    _ => format!(" LIMIT {limit} OFFSET {offset}"),
                };
                sql.push_str(&limit);
            }
        }
        (sql, is_ordered)
    }

    fn order_term(&mut self, item: &str, position: usize, alias: Option<&str>) -> String {
        let descending = self.structure.one_in(2);
        // A number would be another column's position.
        let bare = item.trim_matches(['(', ')', '+', ' ']);
        let is_literal = bare.parse::<f64>().is_ok() || bare.starts_with(['\'', '"']);
        let term = match (if is_literal { 0 } else { self.style.below(3) }, alias) {
            (0, _) => (position + 1).to_string(),
            (1, Some(alias)) => alias.to_owned(),
            _ => item.to_owned(),
        };
        match (descending, self.style.one_in(3)) {
            (true, _) => format!("{term} DESC"),
            (false, true) => format!("{term} ASC"),
            (false, false) => term,
        }
    }

    fn relation(
        &mut self,
        around: &Scope,
        beside: &[Relation],
        depth: usize,
        table: Option<usize>,
    ) -> Relation {
        self.relations += 1;
        let kind = self.structure.below(10);
        let reuse = self.structure.below(4);
        if table.is_none() && depth > 0 && kind == 2 && reuse < self.reusable.len() {
            let (source, columns) = self.reusable[reuse].clone();
            let alias = format!("{}{}", self.style.pick(&["r", "Again_"]), self.relations);
            return Relation { source, alias, table: None, columns };
        }
        if table.is_none() && depth > 0 && kind < 2 {
            let kinds: Vec<Kind> = (0..1 + self.structure.below(2))
                .map(|_| *self.structure.pick(&[Number, Text]))
                .collect();
            let number = self.relations;
            let shared = kind == 1 && around.is_empty();
            let names: Vec<String> =
                (0..kinds.len()).map(|column| format!("k{number}_{column}")).collect();
            let (sql, _) = self.select_named(&Scope::new(), depth - 1, Some(&kinds), &names);
            let columns: Vec<(String, Kind)> = names.iter().cloned().zip(kinds).collect();
            let alias = format!("{}{number}", self.style.pick(&["d", "Sub", "x_"]));
            let in_with = self.style.one_in(2);
            let reusable = shared && self.structure.one_in(2);
            return if reusable || (shared && in_with) {
                let name = format!("{}{number}", self.style.pick(&["w", "With_"]));
                if self.style.one_in(2) {
                    self.with.push(format!("{name} AS ({sql})"));
                } else {
                    self.with.push(format!("{name} ({}) AS ({sql})", names.join(", ")));
                }
                if reusable {
                    self.reusable.push((name.clone(), columns.clone()));
                }
                Relation { source: name, alias, table: None, columns }
            } else {
                Relation { source: format!("({sql})"), alias, table: None, columns }
            };
        }
        let table = table.unwrap_or_else(|| self.structure.below(TABLES.len()));
        let (name, columns) = TABLES[table];
        let columns = columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        let taken = around.iter().flatten().chain(beside).any(|other| other.alias == name);
        let number = self.relations;
        let plain = self.style.one_in(2) && !taken && table_is_free(name, around, beside);
        let alias = if plain {
            name.to_owned()
        } else {
            format!("{}{number}", self.style.pick(&["T", "p", "alias_"]))
        };
        Relation { source: name.to_owned(), alias, table: Some(table), columns }
    }

    fn from(
        &mut self,
        scope: &Scope,
        edges: &[(usize, usize, String, String)],
        outer_join: bool,
        keep_order: bool,
        conditions: &mut Vec<String>,
    ) -> String {
        let depth = scope.len() - 1;
        let relations = scope[depth].clone();
        let mut pieces: Vec<String> = Vec::new();
        for relation in &relations {
            pieces.push(if relation.source == relation.alias {
                relation.source.clone()
            } else if self.style.one_in(2) {
                format!("{} AS {}", relation.source, relation.alias)
            } else {
                format!("{} {}", relation.source, relation.alias)
            });
        }
        let equalities: Vec<(usize, usize, String)> = edges
            .iter()
            .map(|(a, b, from, to)| {
                let left = self.reference(scope, (depth, *a), from);
                let right = self.reference(scope, (depth, *b), to);
                let text = self.comparison(&left, &right, 0);
                (*a, *b, text)
            })
            .collect();
        if outer_join && self.structure.one_in(2) {
            let other = match (equalities.as_slice(), relations.len()) {
                ([(_, _, on)], 2) => {
                    let sides = self.two(&pieces[0], &pieces[1], keep_order);
                    Some(format!(" FROM {} FULL JOIN {} ON {on}", sides[0], sides[1]))
                }
                // A join in parentheses on the right.
                ([(0, 1, outer), (1, 2, inner)], 3) => {
                    let sides = self.two(&pieces[1], &pieces[2], keep_order);
                    let both = self.two(outer, inner, false);
                    let nested = format!("{} LEFT JOIN ({} ", pieces[0], sides[0]);
                    Some(if self.style.one_in(2) {
                        format!(" FROM {nested}CROSS JOIN {}) ON {}", sides[1], both.join(" AND "))
                    } else {
                        format!(" FROM {nested} JOIN {} ON {inner}) ON {outer}", sides[1])
                    })
                }
                // A left join and an inner join, in any order.
                ([(0, 1, left), (0, 2, inner)], 3) => {
                    let left = format!("LEFT JOIN {} ON {left}", pieces[1]);
                    let inner = format!("JOIN {} ON {inner}", pieces[2]);
                    let joins = self.two(&left, &inner, keep_order);
                    Some(format!(" FROM {} {}", pieces[0], joins.join(" ")))
                }
                _ => None,
            };
            if let Some(other) = other {
                return other;
            }
        }
        if outer_join {
            let mut joins: Vec<(usize, usize, String)> = equalities;
            let chained = joins.iter().any(|(a, _, _)| *a != 0);
            if !chained && !keep_order {
                self.style.shuffle(&mut joins);
            }
            if relations.len() == 2 && !keep_order && self.style.one_in(2) {
                let word = self.style.pick(&["RIGHT JOIN", "RIGHT OUTER JOIN"]);
                return format!(" FROM {} {word} {} ON {}", pieces[1], pieces[0], joins[0].2);
            }
            let mut text = format!(" FROM {}", pieces[0]);
            for (_, b, on) in joins {
                let word = self.style.pick(&["LEFT JOIN", "LEFT OUTER JOIN"]);
                write!(text, " {word} {} ON {on}", pieces[b]).unwrap();
            }
            return text;
        }
        if let ([(_, _, from, to)], 2, false) = (edges, relations.len(), keep_order)
            && from == to
            && self.style.one_in(2)
        {
            return format!(" FROM {} JOIN {} USING ({from})", pieces[0], pieces[1]);
        }
        let mut order: Vec<usize> = (0..relations.len()).collect();
        if !keep_order {
            self.style.shuffle(&mut order);
        }
        let mut pending = equalities;
        let mut seen: Vec<usize> = Vec::new();
        let mut text = String::new();
        for position in order {
            if seen.is_empty() {
                write!(text, " FROM {}", pieces[position]).unwrap();
                seen.push(position);
                continue;
            }
            seen.push(position);
            let (mut ready, rest): (Vec<_>, Vec<_>) =
                pending.into_iter().partition(|(a, b, _)| seen.contains(a) && seen.contains(b));
            pending = rest;
            if ready.is_empty() || self.style.one_in(3) {
                let word = self.style.pick(&[",", " CROSS JOIN", " JOIN"]);
                write!(text, "{word} {}", pieces[position]).unwrap();
                pending.append(&mut ready);
                continue;
            }
            let word = self.style.pick(&["JOIN", "INNER JOIN"]);
            let mut on: Vec<String> = ready.into_iter().map(|(_, _, text)| text).collect();
            self.style.shuffle(&mut on);
            if self.style.one_in(4) && !conditions.is_empty() {
                // A condition of WHERE is as good here, if it refers to nothing further right.
                if seen.len() == relations.len() {
                    on.push(conditions.remove(0));
                }
            }
            write!(text, " {word} {} ON {}", pieces[position], on.join(" AND ")).unwrap();
        }
        conditions.extend(pending.into_iter().map(|(_, _, text)| text));
        text
    }

    /// Two texts in any order.
    fn two(&mut self, one: &str, other: &str, keep_order: bool) -> [String; 2] {
        let mut both = [one.to_owned(), other.to_owned()];
        if !keep_order {
            self.style.shuffle(&mut both);
        }
        both
    }

    fn star(&mut self, scope: &Scope) -> String {
        let depth = scope.len() - 1;
        match self.style.below(3) {
            0 => "*".to_owned(),
            1 => {
                let parts: Vec<String> =
                    scope[depth].iter().map(|relation| format!("{}.*", relation.alias)).collect();
                parts.join(", ")
            }
            _ => {
                let mut columns = Vec::new();
                for position in 0..scope[depth].len() {
                    for (name, _) in scope[depth][position].columns.clone() {
                        columns.push(self.reference(scope, (depth, position), &name));
                    }
                }
                columns.join(", ")
            }
        }
    }

    /// A column that can be seen: of an outer query sometimes.
    fn some_column(&mut self, scope: &Scope, kind: Option<Kind>) -> ((usize, usize), String, Kind) {
        let own = scope.len() - 1;
        for _ in 0..20 {
            let depth =
                if self.structure.one_in(6) { self.structure.below(scope.len()) } else { own };
            let position = self.structure.below(scope[depth].len());
            let (name, found) = self.structure.pick(&scope[depth][position].columns).clone();
            if kind.is_none_or(|kind| kind == found) {
                return ((depth, position), name, found);
            }
        }
        let (name, found) = scope[own][0].columns[0].clone();
        ((own, 0), name, found)
    }

    /// A column of the innermost FROM clause.
    fn own_column(&mut self, scope: &Scope) -> ((usize, usize), String, Kind) {
        let depth = scope.len() - 1;
        let position = self.structure.below(scope[depth].len());
        let (name, kind) = self.structure.pick(&scope[depth][position].columns).clone();
        ((depth, position), name, kind)
    }

    fn reference(&mut self, scope: &Scope, place: (usize, usize), name: &str) -> String {
        let relation = &scope[place.0][place.1];
        let shadowed = scope[place.0..]
            .iter()
            .flatten()
            .filter(|other| other.columns.iter().any(|(column, _)| column == name))
            .count();
        let name = match self.style.below(12) {
            0 => format!("\"{name}\""),
            1 => format!("`{name}`"),
            2 => format!("[{name}]"),
            _ => name.to_owned(),
        };
        if shadowed == 1 && self.style.one_in(2) {
            return name;
        }
        format!("{}.{name}", relation.alias)
    }

    fn literal(&mut self, kind: Kind) -> String {
        match kind {
            Text => {
                let word = self.structure.word(&WORDS);
                if self.style.one_in(4) && !matches!(word, "") {
                    format!("\"{word}\"")
                } else {
                    text(word)
                }
            }
            Number => {
                let number = self.structure.below(5);
                if self.structure.one_in(3) {
                    match self.style.below(4) {
                        0 => format!("{number}.50"),
                        1 => format!("{number}5e-1"),
                        _ => format!("{number}.5"),
                    }
                } else {
                    match self.style.below(8) {
                        0 => format!("0{number}"),
                        1 => format!("+{number}"),
                        _ => number.to_string(),
                    }
                }
            }
        }
    }

    fn value(&mut self, scope: &Scope, depth: usize, kind: Option<Kind>, nesting: usize) -> Piece {
        match self.structure.below(if nesting == 0 { 5 } else { 12 }) {
            5 if kind != Some(Text) => {
                let operator = *self.structure.pick(&["+", "*", "-", "/", "%", "|", "&"]);
                let left = self.value(scope, depth, Some(Number), nesting - 1).0;
                let right = self.value(scope, depth, Some(Number), nesting - 1).0;
                let swap = matches!(operator, "+" | "*" | "|" | "&") && self.style.one_in(2);
                let (left, right) = if swap { (right, left) } else { (left, right) };
                Piece(format!("({left} {operator} {right})"), Number)
            }
            6 if kind != Some(Number) => {
                let left = self.value(scope, depth, Some(Text), nesting - 1).0;
                let right = self.value(scope, depth, None, nesting - 1).0;
                Piece(format!("({left} || {right})"), Text)
            }
            7 if kind != Some(Text) => {
                let operand = self.value(scope, depth, Some(Text), nesting - 1).0;
                Piece(format!("length({operand})"), Number)
            }
            8 => {
                let operand = self.value(scope, depth, kind, nesting - 1);
                let other = self.value(scope, depth, Some(operand.1), nesting - 1).0;
                let name = self.style.pick(&["coalesce", "ifnull"]);
                Piece(format!("{name}({}, {other})", operand.0), operand.1)
            }
            9 => {
                let condition = self.predicate(scope, 0, 1);
                let then = self.value(scope, depth, kind, nesting - 1);
                let otherwise = self.value(scope, depth, Some(then.1), nesting - 1).0;
                let text = if self.style.one_in(2) {
                    format!("CASE WHEN {condition} THEN {} ELSE {otherwise} END", then.0)
                } else {
                    format!("iif({condition}, {}, {otherwise})", then.0)
                };
                Piece(text, then.1)
            }
            10 => {
                let operand = self.value(scope, depth, None, nesting - 1).0;
                let kind = kind.unwrap_or(Number);
                let name = match kind {
                    Number => self.style.word(&["INTEGER", "int", "BIGINT"]),
                    Text => self.style.word(&["TEXT", "varchar(9)"]),
                };
                Piece(format!("CAST({operand} AS {name})"), kind)
            }
            11 if depth > 0 && kind != Some(Text) => {
                let aggregate = self.scalar(scope, depth);
                Piece(aggregate, Number)
            }
            0 => {
                let kind = kind.unwrap_or(Number);
                let text = self.literal(kind);
                // Never a column's position.
                Piece(format!("({text})"), kind)
            }
            _ => {
                let (place, name, kind) = self.some_column(scope, kind);
                Piece(self.reference(scope, place, &name), kind)
            }
        }
    }

    /// A subquery with one row and one number.
    fn scalar(&mut self, around: &Scope, depth: usize) -> String {
        let mut scope = around.clone();
        let relation = self.relation(around, &[], depth - 1, None);
        scope.push(vec![relation]);
        let aggregate = self.aggregate(&scope);
        let mut conditions = Vec::new();
        for _ in 0..self.structure.below(3) {
            let condition = self.predicate(&scope, depth - 1, 1);
            conditions.push(condition);
        }
        self.style.shuffle(&mut conditions);
        let from = self.from(&scope, &[], false, true, &mut Vec::new());
        let filter = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        format!("(SELECT {aggregate}{from}{filter})")
    }

    fn aggregate(&mut self, scope: &Scope) -> String {
        let (place, name, _) = self.own_column(scope);
        let column = self.reference(scope, place, &name);
        match self.structure.below(7) {
            0 => {
                (self.style.word(&["count(*)", "count(1)", "COUNT ( * )", "count('x')"])).to_owned()
            }
            1 => format!("count({column})"),
            2 => format!("count(DISTINCT {column})"),
            3 => format!("sum({column})"),
            4 => format!("max({}{column})", self.style.pick(&["", "DISTINCT "])),
            5 => format!("min({}{column})", self.style.pick(&["", "ALL "])),
            _ => format!("avg({column})"),
        }
    }

    fn comparison(&mut self, left: &str, right: &str, operator: usize) -> String {
        let (same, flipped, negated) = match operator {
            0 => ("=", "=", "<>"),
            1 => ("<>", "<>", "="),
            2 => ("<", ">", ">="),
            3 => ("<=", ">=", ">"),
            4 => (">", "<", "<="),
            _ => (">=", "<=", "<"),
        };
        let spelt = |style: &mut Random, operator: &str| match (operator, style.below(3)) {
            ("=", 0) => "==".to_owned(),
            ("<>", 0) => "!=".to_owned(),
            _ => operator.to_owned(),
        };
        match self.style.below(6) {
            0 | 1 => format!("{right} {} {left}", spelt(&mut self.style, flipped)),
            2 => format!("NOT ({left} {} {right})", spelt(&mut self.style, negated)),
            3 => format!("({left} {} {right})", spelt(&mut self.style, same)),
            _ => format!("{left} {} {right}", spelt(&mut self.style, same)),
        }
    }

    /// A condition that can stand beside AND.
    fn predicate(&mut self, scope: &Scope, depth: usize, nesting: usize) -> String {
        let negated = self.structure.one_in(5);
        match self.structure.below(if nesting == 0 { 6 } else { 11 }) {
            0 | 1 => {
                let (place, name, kind) = self.some_column(scope, None);
                let column = self.reference(scope, place, &name);
                let kind = if self.structure.one_in(6) { Number } else { kind };
                let literal = self.literal(kind);
                let operator = self.structure.below(6);
                self.comparison(&column, &literal, operator)
            }
            2 => {
                let left = self.value(scope, 0, None, 1);
                let right = self.value(scope, 0, Some(left.1), 1);
                let operator = self.structure.below(6);
                self.comparison(&left.0, &right.0, operator)
            }
            3 => {
                let (place, name, kind) = self.some_column(scope, None);
                let column = self.reference(scope, place, &name);
                let mut list: Vec<String> =
                    (0..1 + self.structure.below(3)).map(|_| self.literal(kind)).collect();
                if self.structure.one_in(8) {
                    list.push("NULL".to_owned());
                }
                self.style.shuffle(&mut list);
                if self.style.one_in(2) {
                    let join = if negated { " AND " } else { " OR " };
                    let terms: Vec<String> = list
                        .iter()
                        .map(|value| self.comparison(&column, value, usize::from(negated)))
                        .collect();
                    return format!("({})", terms.join(join));
                }
                if self.style.one_in(4) {
                    list.push(list[0].clone());
                }
                self.negatable(&column, negated, "IN", &format!("({})", list.join(", ")))
            }
            4 => {
                let (place, name, kind) = self.some_column(scope, None);
                let column = self.reference(scope, place, &name);
                let (low, high) = (self.literal(kind), self.literal(kind));
                if self.style.one_in(2) {
                    let (a, b) = if negated { (2, 4) } else { (5, 3) };
                    let mut both =
                        [self.comparison(&column, &low, a), self.comparison(&column, &high, b)];
                    self.style.shuffle(&mut both);
                    return format!("({})", both.join(if negated { " OR " } else { " AND " }));
                }
                self.negatable(&column, negated, "BETWEEN", &format!("{low} AND {high}"))
            }
            5 => {
                let (place, name, _) = self.some_column(scope, None);
                let column = self.reference(scope, place, &name);
                if self.structure.one_in(2) {
                    let pattern = *self.structure.pick(&["'r%'", "'%e%'", "'1'", "'_ed'"]);
                    return self.negatable(&column, negated, "LIKE", pattern);
                }
                match (negated, self.style.below(3)) {
                    (false, 0) => format!("{column} ISNULL"),
                    (false, _) => format!("{column} IS NULL"),
                    (true, 0) => format!("{column} NOTNULL"),
                    (true, 1) => format!("NOT {column} IS NULL"),
                    (true, _) => format!("{column} IS NOT NULL"),
                }
            }
            6 | 7 => {
                let both = self.structure.one_in(3);
                let mut terms: Vec<String> = (0..2 + self.structure.below(2))
                    .map(|_| self.predicate(scope, depth, nesting - 1))
                    .collect();
                self.style.shuffle(&mut terms);
                if self.style.one_in(5) {
                    terms.push(terms[0].clone());
                }
                let (word, other) = if both { ("AND", "OR") } else { ("OR", "AND") };
                if self.style.one_in(4) {
                    let terms: Vec<String> = terms.iter().map(|t| format!("NOT ({t})")).collect();
                    return format!("NOT ({})", terms.join(&format!(" {other} ")));
                }
                format!("({})", terms.join(&format!(" {word} ")))
            }
            8 if depth > 0 => {
                let (place, name, kind) = self.some_column(scope, None);
                let column = self.reference(scope, place, &name);
                let (query, _) = self.select(scope, depth - 1, Some(&[kind]));
                self.negatable(&column, negated, "IN", &format!("({query})"))
            }
            9 if depth > 0 => {
                let (query, _) = self.select(scope, depth - 1, Some(&[Number]));
                if negated { format!("NOT EXISTS ({query})") } else { format!("EXISTS ({query})") }
            }
            10 if depth > 0 => {
                let (place, name, _) = self.some_column(scope, Some(Number));
                let column = self.reference(scope, place, &name);
                let scalar = self.scalar(scope, depth);
                let operator = self.structure.below(6);
                self.comparison(&column, &scalar, operator)
            }
            _ => {
                let (place, name, _) = self.some_column(scope, None);
                let column = self.reference(scope, place, &name);
                let value = self.literal(Number);
                self.comparison(&column, &value, 0)
            }
        }
    }

    fn negatable(&mut self, left: &str, negated: bool, word: &str, right: &str) -> String {
        match (negated, self.style.below(3)) {
            (false, 0) => format!("NOT ({left} NOT {word} {right})"),
            (false, _) => format!("({left} {word} {right})"),
            (true, 0) => format!("NOT {left} {word} {right}"),
            (true, _) => format!("({left} NOT {word} {right})"),
        }
    }

    /// Changes the case of what is not quoted, and the spaces.
    fn dress(&mut self, sql: &str) -> String {
        let mut dressed = String::new();
        let mut quote = None;
        let case = self.style.below(4);
        for character in sql.chars() {
            match quote {
                Some(end) => {
                    dressed.push(character);
                    if character == end {
                        quote = None;
                    }
                }
                None => match character {
                    '\'' | '"' | '`' => {
                        quote = Some(character);
                        dressed.push(character);
                    }
                    '[' => {
                        quote = Some(']');
                        dressed.push(character);
                    }
                    ' ' => dressed.push_str(self.style.word(&[
                        " ",
                        " ",
                        " ",
                        " ",
                        " ",
                        "  ",
                        "\n",
                        "\t",
                        " /* x */ ",
                    ])),
                    _ => match case {
                        0 => dressed.extend(character.to_uppercase()),
                        1 if self.style.one_in(2) => dressed.extend(character.to_uppercase()),
                        2 => dressed.extend(character.to_lowercase()),
                        _ => dressed.push(character),
                    },
                },
            }
        }
        dressed
    }
}

fn table_is_free(name: &str, around: &Scope, beside: &[Relation]) -> bool {
    !around.iter().flatten().chain(beside).any(|other| other.source == name)
}
