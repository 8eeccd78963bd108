//! Small random changes of a query's tokens, most of which change what it says or break it.

use super::generate::Random;

const OPERATORS: [&str; 23] = [
    "=", "<>", "<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/", "||", "&", "|", "<<", "IS",
    "IS NOT", "AND", "OR", "LIKE", "GLOB", "%",
];

const OPERANDS: [&str; 39] = [
    "id",
    "name",
    "class",
    "age",
    "mass",
    "moons",
    "star_id",
    "title",
    "year",
    "planet_id",
    "cost",
    "probe_id",
    "note",
    "rowid",
    "out0",
    "NULL",
    "TRUE",
    "1",
    "2",
    "1.0",
    "'1'",
    "\"red\"",
    "'red'",
    "\"name\"",
    "*",
    "star",
    "planet",
    "probe",
    "visit",
    "count",
    "max",
    "sum",
    "min",
    "lower",
    "nosuch",
    "0",
    "-1",
    "x'31'",
    "0x1",
];

const PHRASES: [&str; 31] = [
    "NOT",
    "DISTINCT",
    "ALL",
    "ASC",
    "DESC",
    "LEFT JOIN",
    "JOIN",
    ",",
    "FULL JOIN",
    "RIGHT JOIN",
    "NATURAL JOIN",
    "NATURAL LEFT JOIN",
    "UNION",
    "UNION ALL",
    "INTERSECT",
    "EXCEPT",
    "COLLATE NOCASE",
    "+",
    "-",
    "~",
    "(",
    ")",
    "IS NULL",
    "NOTNULL",
    "AND 1",
    "OR 1 = 2",
    "= 1",
    "|| 1",
    "OVER ()",
    "END",
    "FILTER (WHERE 1)",
];

/// The query with one or two changes.
pub(crate) fn mutant(sql: &str, seed: u64) -> String {
    let mut random = Random(seed);
    let mut tokens = tokens(sql);
    for _ in 0..1 + random.below(2) {
        if !tokens.is_empty() {
            change(&mut random, &mut tokens);
        }
    }
    tokens.join(" ")
}

fn change(random: &mut Random, tokens: &mut Vec<String>) {
    let place = random.below(tokens.len());
    let places = |wanted: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..tokens.len()).filter(|&place| wanted(&tokens[place])).collect()
    };
    match random.below(9) {
        0 => {
            tokens.remove(place);
        }
        1 => tokens.insert(place, tokens[place].clone()),
        2 if place + 1 < tokens.len() => tokens.swap(place, place + 1),
        3 => {
            let operators = places(&|token| OPERATORS.contains(&&*token.to_uppercase()));
            if !operators.is_empty() {
                tokens[*random.pick(&operators)] = random.word(&OPERATORS).to_owned();
            }
        }
        4 | 5 => {
            let operands = places(&|token| {
                token.starts_with(|first: char| first.is_alphanumeric() || "'\"".contains(first))
            });
            if !operands.is_empty() {
                tokens[*random.pick(&operands)] = random.word(&OPERANDS).to_owned();
            }
        }
        6 => tokens.insert(place, random.word(&PHRASES).to_owned()),
        7 => {
            let open = places(&|token| token == "(");
            if !open.is_empty() {
                remove_parentheses(tokens, *random.pick(&open));
            }
        }
        _ => tokens[place] = tokens[random.below(tokens.len())].clone(),
    }
}

fn remove_parentheses(tokens: &mut Vec<String>, open: usize) {
    let mut depth = 0;
    for place in open..tokens.len() {
        match tokens[place].as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            tokens.remove(place);
            tokens.remove(open);
            return;
        }
    }
}

/// The tokens of SQL, comments left out.
pub(crate) fn tokens(sql: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut characters = sql.chars().peekable();
    while let Some(first) = characters.next() {
        if first.is_whitespace() {
            continue;
        }
        match (first, characters.peek()) {
            ('/', Some('*')) => {
                let mut before = ' ';
                characters.next();
                for character in characters.by_ref() {
                    if before == '*' && character == '/' {
                        break;
                    }
                    before = character;
                }
                continue;
            }
            ('-', Some('-')) => {
                for character in characters.by_ref() {
                    if character == '\n' {
                        break;
                    }
                }
                continue;
            }
            _ => {}
        }
        let mut token = first.to_string();
        let end = match first {
            '\'' | '"' | '`' => Some(first),
            '[' => Some(']'),
            _ => None,
        };
        if let Some(end) = end {
            while let Some(character) = characters.next() {
                token.push(character);
                if character == end {
                    match characters.next_if(|next| *next == end && end != ']') {
                        Some(doubled) => token.push(doubled),
                        None => break,
                    }
                }
            }
        } else if first.is_ascii_digit() {
            while let Some(next) = characters.next_if(|next| {
                next.is_ascii_alphanumeric()
                    || *next == '.'
                    || (*next == '-' && token.ends_with(['e', 'E']))
            }) {
                token.push(next);
            }
        } else if first.is_alphabetic() || first == '_' {
            while let Some(next) = characters.next_if(|next| next.is_alphanumeric() || *next == '_')
            {
                token.push(next);
            }
        } else if "<>=!|".contains(first) {
            while let Some(next) = characters.next_if(|next| "<>=|".contains(*next)) {
                token.push(next);
            }
        }
        tokens.push(token);
    }
    tokens
}
