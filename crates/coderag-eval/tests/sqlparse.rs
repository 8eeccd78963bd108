//! SQL text before its execution against sqlparse and the official script, whose values
//! `scripts/reference_sqlparse.py` wrote down.

#![allow(clippy::unwrap_used, clippy::panic)]

use coderag_eval::Error;
use coderag_eval::execution::plug_values::{extract_query_values, plug_gold_values};
use coderag_eval::execution::query_text::{postprocess, replace_current_year};
use coderag_eval::execution::remove_distinct::remove_distinct;
use coderag_eval::execution::sqlparse::{
    GroupingLimits, Token, TokenKind, first_statement, first_statement_within,
};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
struct Reference {
    sqlparse: String,
    types: Vec<String>,
    statements: Vec<Statement>,
    without_distinct: Vec<WithoutDistinct>,
    chains: Vec<Chain>,
    limited: Vec<Limited>,
    values: Vec<Values>,
    plugged: Vec<Plugged>,
    replaced: Vec<Replaced>,
}

#[derive(Deserialize)]
struct Statement {
    sql: String,
    /// The position in `types` and the count of characters of each token, by turns.
    tokens: Option<Vec<usize>>,
}

#[derive(Deserialize)]
struct WithoutDistinct {
    sql: String,
    result: Option<String>,
}

/// A text of one part many times between two others.
#[derive(Deserialize)]
struct Chain {
    /// Parts and how often each is repeated.
    parts: Vec<(String, usize)>,
    fails: bool,
}

/// A text and the smallest limits within which it is grouped, each while the other is large.
#[derive(Deserialize)]
struct Limited {
    sql: String,
    depth: usize,
    tokens: usize,
}

#[derive(Deserialize)]
struct Values {
    sql: String,
    result: Option<(Vec<String>, BTreeSet<String>)>,
}

#[derive(Deserialize)]
struct Plugged {
    gold: String,
    prediction: String,
    /// None where the script fails.
    count: Option<u64>,
    queries: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Replaced {
    sql: String,
    postprocess: String,
    replace_cur_year: String,
}

fn reference() -> Reference {
    let reference: Reference = serde_json::from_str(include_str!("fixture/sqlparse.json")).unwrap();
    assert_eq!(reference.sqlparse, "0.6.1");
    reference
}

/// What sqlparse's token types are here.
fn kind(name: &str) -> TokenKind {
    match name {
        "Token.Text.Whitespace" => TokenKind::Whitespace,
        "Token.Text.Whitespace.Newline" => TokenKind::Newline,
        "Token.Comment.Single" => TokenKind::LineComment,
        "Token.Comment.Multiline" => TokenKind::BlockComment,
        "Token.Comment.Single.Hint" | "Token.Comment.Multiline.Hint" => TokenKind::HintComment,
        "Token.Literal.String.Single" => TokenKind::SingleQuoted,
        "Token.Literal.String.Symbol" => TokenKind::DoubleQuoted,
        "Token.Name" => TokenKind::Name,
        "Token.Name.Placeholder" => TokenKind::Placeholder,
        "Token.Name.Builtin" => TokenKind::Builtin,
        "Token.Literal.Number.Integer" | "Token.Literal.Number.Float" => TokenKind::Number,
        "Token.Literal.Number.Hexadecimal" => TokenKind::Hexadecimal,
        "Token.Keyword" => TokenKind::Keyword,
        "Token.Keyword.DML" | "Token.Keyword.DDL" | "Token.Keyword.CTE" => {
            TokenKind::StatementKeyword
        }
        "Token.Keyword.DCL" => TokenKind::GrantKeyword,
        "Token.Keyword.Order" => TokenKind::OrderKeyword,
        "Token.Keyword.TZCast" => TokenKind::TimeZoneCast,
        "Token.Punctuation" => TokenKind::Punctuation,
        "Token.Operator" => TokenKind::Operator,
        "Token.Operator.Comparison" => TokenKind::Comparison,
        "Token.Wildcard" => TokenKind::Wildcard,
        "Token.Assignment" => TokenKind::Assignment,
        "Token.Literal" | "Token.Generic.Command" | "Token.Error" => TokenKind::Other,
        other => panic!("no counterpart of {other}"),
    }
}

#[test]
fn statements_become_the_tokens_of_sqlparse() {
    let reference = reference();
    let mut compared = 0;
    for Statement { sql, tokens } in &reference.statements {
        let ours = first_statement(sql);
        let Some(tokens) = tokens else {
            assert!(ours.is_err(), "{sql:?}");
            continue;
        };
        let mut rest = sql.as_str();
        let mut expected = Vec::new();
        for token in tokens.chunks(2) {
            let end = rest.char_indices().nth(token[1]).map_or(rest.len(), |(end, _)| end);
            let text = &rest[..end];
            rest = &rest[end..];
            // Grouping calls the star of a product an operator; the lexer does not.
            let kind = match text {
                "*" => TokenKind::Wildcard,
                _ => kind(&reference.types[token[0]]),
            };
            expected.push(Token { kind, text });
        }
        assert_eq!(ours.unwrap(), expected, "{sql:?}");
        compared += expected.len();
    }
    assert!(compared > 5000, "{compared} tokens");
}

#[test]
fn queries_lose_distinct_as_in_the_official_script() {
    let mut changed = 0;
    for WithoutDistinct { sql, result } in reference().without_distinct {
        changed += usize::from(result.as_ref().is_some_and(|result| !sql.starts_with(result)));
        assert_eq!(remove_distinct(&sql).ok(), result, "{sql:?}");
    }
    assert!(changed > 40, "{changed} queries");
}

#[test]
fn statements_are_refused_where_sqlparse_gives_up_grouping() {
    let reference = reference();
    let groups = |sql: &str, depth: Option<usize>, tokens: Option<usize>| match (depth, tokens) {
        (Some(depth), Some(tokens)) => {
            first_statement_within(sql, GroupingLimits { depth, tokens }).is_ok()
        }
        // A limit below zero.
        _ => false,
    };
    const MANY: Option<usize> = Some(1_000_000);
    for Limited { sql, depth, tokens } in &reference.limited {
        assert!(groups(sql, Some(*depth), MANY), "{depth} levels {sql:?}");
        assert!(!groups(sql, depth.checked_sub(1), MANY), "less than {depth} levels {sql:?}");
        assert!(groups(sql, MANY, Some(*tokens)), "{tokens} tokens {sql:?}");
        assert!(!groups(sql, MANY, tokens.checked_sub(1)), "less than {tokens} tokens {sql:?}");
    }
    assert!(reference.limited.iter().filter(|limited| limited.depth > 3).count() > 40);
    for Chain { parts, fails } in &reference.chains {
        let sql: String = parts.iter().map(|(part, times)| part.repeat(*times)).collect();
        assert_eq!(first_statement(&sql).is_err(), *fails, "{parts:?}");
    }
}

#[test]
fn a_refusal_says_what_was_wrong() {
    assert!(matches!(first_statement(" \n"), Err(Error::NoStatement)));
    let tower = "(".repeat(101) + &")".repeat(101);
    assert!(matches!(first_statement(&tower), Err(Error::NestedTooDeeply { limit: 100 })));
    let list = "a,".repeat(5001);
    assert!(matches!(first_statement(&list), Err(Error::TooManyTokens { limit: 10_000 })));
    // A later statement counts as well.
    assert!(first_statement(&format!("select 1; {list}")).is_err());
}

#[test]
fn values_are_those_of_the_official_script() {
    let mut values = 0;
    for Values { sql, result } in reference().values {
        let ours = extract_query_values(&sql).ok().map(|ours| (ours.words, ours.values));
        assert_eq!(ours, result, "{sql:?}");
        values += result.map_or(0, |(_, values)| values.len());
    }
    assert!(values > 50, "{values} values");
}

#[test]
fn gold_values_are_plugged_in_as_in_the_official_script() {
    let mut many = 0;
    for Plugged { gold, prediction, count, queries } in reference().plugged {
        let ours = plug_gold_values(&gold, &prediction).ok();
        assert_eq!(ours.as_ref().map(|ours| ours.number_of_queries()), count, "{gold:?}");
        if let (Some(ours), Some(queries)) = (ours, queries) {
            let mut ours: Vec<String> = ours.collect();
            ours.sort();
            assert_eq!(ours, queries, "{gold:?} {prediction:?}");
            many += usize::from(queries.len() > 1);
        }
    }
    assert!(many > 10, "{many} with several ways");
}

#[test]
fn the_values_of_the_last_place_change_fastest() {
    let plugged =
        plug_gold_values("SELECT 'x' FROM t WHERE a = 7", "SELECT b FROM t WHERE c = 1 AND d = 2")
            .unwrap();
    assert_eq!(plugged.number_of_queries(), 4);
    assert_eq!(
        plugged.collect::<Vec<_>>(),
        [
            "select b from t where c = 'x' and d = 'x'",
            "select b from t where c = 'x' and d = 7",
            "select b from t where c = 7 and d = 'x'",
            "select b from t where c = 7 and d = 7",
        ]
    );
}

#[test]
fn the_number_of_ways_is_known_before_they_are_made() {
    let list = |length: usize| {
        let values: Vec<String> = (0..length).map(|value| format!("{value}.5")).collect();
        format!("SELECT {}", values.join(" , "))
    };
    let plugged = plug_gold_values(&list(20), &list(14)).unwrap();
    assert_eq!(plugged.number_of_queries(), 20_u64.pow(14));
    assert_eq!(plugged.take(3).count(), 3);
    assert_eq!(plug_gold_values(&list(20), &list(20)).unwrap().number_of_queries(), u64::MAX);
    let without_values = plug_gold_values("SELECT a", &list(2)).unwrap();
    assert_eq!((without_values.number_of_queries(), without_values.count()), (0, 0));
    let without_places = plug_gold_values(&list(2), "SELECT a").unwrap();
    assert_eq!(without_places.number_of_queries(), 1);
    assert_eq!(without_places.collect::<Vec<_>>(), ["select a"]);
}

#[test]
fn texts_are_replaced_as_in_the_official_script() {
    let mut changed = 0;
    for case in reference().replaced {
        assert_eq!(postprocess(&case.sql), case.postprocess);
        assert_eq!(replace_current_year(&case.sql), case.replace_cur_year);
        changed += usize::from(case.replace_cur_year != case.sql);
    }
    assert!(changed > 10, "{changed} texts");
}

/// Text with much of what means something in SQL.
fn sql() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ \t\r\n;,.()\\[\\]'\"`\u{b4}$%@#?:*/+<>=~!^&|\\\\-]{1,3}",
        3 => "[0-9eExX.]{1,4}|[a-zA-Z_\u{c0}-\u{ff}\u{131}\u{17f}\u{212a}]{1,4}",
        4 => proptest::sample::select(vec![
            "select", "DISTINCT", "distinct", "from ", " where", "begin", "END", "end  if", "case ",
            "create or replace", "declare", "loop", "go 2", "GO", "left join", "at time zone 'x'",
            "--", "# ", "/*", "*/", "$x$", "''", "\\'", "T1.", "1.5", "valuerare", " and ", " as ",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_tokens_put_together_are_the_beginning_of_the_text(text in sql()) {
        let Ok(tokens) = first_statement(&text) else { return Ok(()) };
        prop_assert!(tokens.iter().all(|token| !token.text.is_empty()));
        let together: String = tokens.iter().map(|token| token.text).collect();
        prop_assert!(text.starts_with(&together));
        // The first statement alone is the same statement.
        prop_assert_eq!(first_statement(&together).unwrap(), tokens);
    }

    #[test]
    fn no_text_makes_a_panic(first in sql(), second in sql()) {
        let _ = remove_distinct(&first);
        let _ = replace_current_year(&first);
        if let Ok(plugged) = plug_gold_values(&first, &second) {
            let expected = plugged.number_of_queries().min(50);
            prop_assert_eq!(plugged.take(50).count() as u64, expected);
        }
        for depth in 0..4 {
            let _ = first_statement_within(&second, GroupingLimits { depth, tokens: 20 });
        }
    }

    /// Between spaces; without them, what stood on both sides of it may grow together to another
    /// one.
    #[test]
    fn distinct_between_spaces_is_removed_once_and_for_all(
        words in proptest::collection::vec("[a-z]{1,8}|distinct|DISTINCT|'[a-z ]*'|[0-9]{1,3}|,", 1..20),
    ) {
        let query = format!("select {}", words.join(" "));
        let removed = remove_distinct(&query).unwrap_or_default();
        prop_assert_eq!(&remove_distinct(&removed).unwrap_or_default(), &removed);
        let kept = ["select"].into_iter().chain(words.iter().map(String::as_str));
        let kept = kept.filter(|word| !word.eq_ignore_ascii_case("distinct"));
        let kept: Vec<&str> = kept.flat_map(|word| word.split(' ')).filter(|word| !word.is_empty()).collect();
        prop_assert_eq!(removed.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>(), kept);
    }
}
