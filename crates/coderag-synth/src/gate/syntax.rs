//! Is it code of its language, and more than a promise of code?

use std::sync::LazyLock;

use regex::Regex;
use sqlparser::dialect::{Dialect, GenericDialect, SQLiteDialect};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};
use tree_sitter::Node;

use crate::CodeLanguage;
use crate::syntax_tree::{
    MOST_BYTES, is_comment, line_of, named_children, parse, preorder, text_of,
};

/// Whether the whole text is code of its language: it parses, and holds a definition or a statement.
///
/// What tree-sitter's grammars take and the languages do not is refused where models write it: Python 2,
/// blocks without statements and lost indentation. A JavaScript or Java text may also be the members of a
/// class.
///
/// # Errors
/// Why not, for people.
pub(crate) fn check(language: CodeLanguage, code: &str) -> Result<(), String> {
    if code.trim().is_empty() {
        return Err("the code is empty".to_owned());
    }
    if language == CodeLanguage::Sql {
        return check_sql(code);
    }
    let Err(reason) = check_tree(language, code) else { return Ok(()) };
    if matches!(language, CodeLanguage::JavaScript | CodeLanguage::Java)
        && check_tree(language, &format!("class Members {{\n{code}\n}}")).is_ok()
    {
        return Ok(());
    }
    Err(reason)
}

fn check_tree(language: CodeLanguage, code: &str) -> Result<(), String> {
    if code.len() > MOST_BYTES {
        return Err(format!("the code has {} bytes, more than {MOST_BYTES}", code.len()));
    }
    let Some(tree) = parse(language, code) else {
        return Err("the code takes too long to parse".to_owned());
    };
    let root = tree.root_node();
    for node in preorder(root) {
        if node.is_missing() {
            return Err(format!("line {}: `{}` is missing", line_of(node), node.kind()));
        }
        if node.is_error() {
            return Err(format!("line {}: {}", line_of(node), syntax_error(node, code)));
        }
        if language == CodeLanguage::Python
            && let Some(problem) = python_problem(node, code)
        {
            return Err(format!("line {}: {problem}", line_of(node)));
        }
    }
    // A parser that gave up close to the end can leave a root with an error and no node that says where.
    if root.has_error() {
        return Err("a syntax error".to_owned());
    }
    if named_children(root).into_iter().all(is_comment) {
        return Err("there is nothing but comments".to_owned());
    }
    Ok(())
}

fn syntax_error(error: Node<'_>, code: &str) -> String {
    const MOST_CHARACTERS: usize = 30;
    let line = text_of(error, code).trim().lines().next().unwrap_or_default();
    if line.is_empty() {
        return "syntax error".to_owned();
    }
    let shown: String = line.chars().take(MOST_CHARACTERS).collect();
    let ellipsis = if shown.len() < line.len() { "..." } else { "" };
    format!("syntax error near `{shown}{ellipsis}`")
}

/// What tree-sitter's grammar of Python takes and Python 3 does not.
fn python_problem(node: Node<'_>, code: &str) -> Option<&'static str> {
    match node.kind() {
        "print_statement" => Some("a print statement of Python 2"),
        "exec_statement" => Some("an exec statement of Python 2"),
        "<>" => Some("the operator `<>` of Python 2"),
        // Python 3.14 takes `except A, B:`, but whoever writes it nearly always means Python 2's.
        "," if node.parent().is_some_and(|parent| parent.kind() == "except_clause") => {
            Some("an except clause of Python 2")
        }
        "integer" if is_python_2_integer(text_of(node, code)) => Some("an integer of Python 2"),
        "block" if named_children(node).into_iter().all(is_comment) => {
            Some("an indented block is expected")
        }
        "module" | "block" if is_unevenly_indented(node, code) => {
            Some("the statements of a block are indented differently")
        }
        _ => None,
    }
}

/// `10L` and `0777`.
fn is_python_2_integer(number: &str) -> bool {
    let octal = number.len() > 1
        && number.starts_with('0')
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
        && number.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    octal || number.ends_with(['l', 'L'])
}

/// Whether two statements of a block that begin lines begin in different columns, or a statement of the
/// module not in the first.
fn is_unevenly_indented(block: Node<'_>, code: &str) -> bool {
    let mut expected = (block.kind() == "module").then_some(0);
    for statement in named_children(block).into_iter().filter(|child| !is_comment(*child)) {
        let column = statement.start_position().column;
        let start = statement.start_byte();
        let before = start.checked_sub(column).and_then(|line| code.get(line..start));
        if before.is_some_and(|before| before.trim().is_empty())
            && *expected.get_or_insert(column) != column
        {
            return true;
        }
    }
    false
}

/// The most words, operators and parentheses of SQL. Each level of a tree takes at least one of them, so
/// this bounds the depth of the trees that sqlparser builds, and drops, with recursion.
const MOST_SQL_TOKENS: usize = 4_000;

fn check_sql(code: &str) -> Result<(), String> {
    let Err(reason) = check_dialect(&SQLiteDialect {}, code) else { return Ok(()) };
    check_dialect(&GenericDialect {}, code).map_err(|_| reason)
}

fn check_dialect(dialect: &dyn Dialect, code: &str) -> Result<(), String> {
    let located =
        |message: String| located_first(message.trim_start_matches("sql parser error: "), code);
    let tokens = Tokenizer::new(dialect, code)
        .tokenize_with_location()
        .map_err(|error| located(error.to_string()))?;
    let makes_a_level = |token: &&TokenWithSpan| {
        !matches!(
            token.token,
            Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::SingleQuotedString(_)
        )
    };
    let levels = tokens.iter().filter(makes_a_level).count();
    if levels > MOST_SQL_TOKENS {
        return Err(format!(
            "the SQL has {levels} words and operators, more than {MOST_SQL_TOKENS}"
        ));
    }
    let mut parser = Parser::new(dialect).with_tokens_with_locations(tokens);
    let statements = parser.parse_statements().map_err(|error| located(error.to_string()))?;
    // sqlparser stops at an END as if it closed a block around.
    let rest = parser.next_token();
    if rest.token != Token::EOF {
        let line = rest.span.start.line;
        return Err(format!("line {line}: syntax error near `{}`", rest.token));
    }
    if statements.is_empty() {
        return Err("there is no statement".to_owned());
    }
    Ok(())
}

/// `Expected: x, found: y at Line: 2, Column: 5` as `line 2: expected: x, found: y`. What is at the end of
/// the text has no line in sqlparser's messages.
fn located_first(message: &str, code: &str) -> String {
    let decapitalised = |text: &str| match text.strip_prefix("Expected") {
        Some(rest) => format!("expected{rest}"),
        None => text.to_owned(),
    };
    match message.rsplit_once(" at Line: ") {
        Some((what, place)) => {
            let line = place.split(',').next().unwrap_or_default();
            format!("line {line}: {}", decapitalised(what))
        }
        None => format!("line {}: {}", code.trim_end().lines().count(), decapitalised(message)),
    }
}

/// Whether the code only stands for code: functions without anything in them, or a comment that says what
/// is left out. Code that does not parse is not judged.
///
/// # Errors
/// What gives it away, for people.
pub(crate) fn placeholder(language: CodeLanguage, code: &str) -> Result<(), String> {
    let comments: Vec<String> = if language == CodeLanguage::Sql {
        let tokens = Tokenizer::new(&SQLiteDialect {}, code).tokenize().unwrap_or_default();
        let comment = |token| match token {
            Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) => Some(comment),
            Token::Whitespace(Whitespace::MultiLineComment(comment)) => Some(comment),
            _ => None,
        };
        tokens.into_iter().filter_map(comment).collect()
    } else {
        let Some(tree) = parse(language, code) else { return Ok(()) };
        let root = tree.root_node();
        if !root.has_error() && !has_code(root, code) {
            return Err("nothing is implemented".to_owned());
        }
        let comments = preorder(root).filter(|node| is_comment(*node));
        comments.map(|comment| text_of(comment, code).to_owned()).collect()
    };
    match comments.iter().find(|comment| stands_for_code(comment)) {
        Some(comment) => {
            let comment: String = comment.trim().chars().take(60).collect();
            Err(format!("a comment stands for code: `{comment}`"))
        }
        None => Ok(()),
    }
}

/// Whether a comment stands where code should.
fn stands_for_code(comment: &str) -> bool {
    static PHRASES: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(PHRASES_SOURCE).ok());
    PHRASES.as_ref().is_some_and(|phrases| phrases.is_match(comment))
}

/// What language models write in place of code.
const PHRASES_SOURCE: &str = concat!(
    r"(?ix)",
    // "your code here", "add your logic here", "implementation goes here".
    r"\b (?:your|actual|real) \s (?:\w+\s){0,2}",
    r"(?: code | logic | implementation | query | solution ) \s (?:goes\s)? here \b",
    r"| \b (?:code|logic|implementation) \s (?:goes|omitted) \b",
    r"| \b (?:add|write|put|insert|implement|fill\s in) \s (?:your|the\s actual) \s (?:\w+\s){0,2}",
    r"(?: code | logic | implementation | query | solution ) \b",
    r"| ^ \W* implement \s (?: me | this | it | here | the \s (?:function|method|logic) ) \b",
    r"| \b (?:rest|remainder) \s of \s (?:the|your) \s (?:\w+\s)?",
    r"(?: code | function | method | implementation | class | logic ) \b",
    r"| \b existing \s code \s (?:here|remains|unchanged) \b",
    r"| \b TODO \W{0,3} (?: implement (?:\s (?:this|the|me|it)\b|\W*$) | complete | finish | your | fill ) \b",
    // A comment of nothing but dots.
    r"| ^ \s* (?:\#|//|--|/\*)? \s* (?:\.{3}|…) \s* (?:\*/)? \s* $",
);

/// Whether anything is implemented: a statement, in a function or outside, that does something.
fn has_code(root: Node<'_>, code: &str) -> bool {
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        for child in named_children(node) {
            match child.kind() {
                _ if is_comment(child) || does_nothing(child, code) => {}
                "function_definition"
                | "function_item"
                | "function_declaration"
                | "generator_function_declaration"
                | "method_definition"
                | "method_declaration"
                | "constructor_declaration"
                | "class_definition"
                | "class_declaration"
                | "impl_item" => open.extend(child.child_by_field_name("body")),
                // What only wraps definitions, or is the list of a block's statements.
                "decorated_definition" | "export_statement" | "statement_list" => open.push(child),
                _ => return true,
            }
        }
    }
    false
}

/// Whether a statement is one that is written where there is nothing to do, or not yet.
fn does_nothing(statement: Node<'_>, code: &str) -> bool {
    /// What an exception is called, or says, that stands for an implementation.
    fn is_unimplemented(text: &str) -> bool {
        let text = text.to_lowercase().replace([' ', '_'], "");
        ["notimplemented", "unsupportedoperation", "todo!", "unimplemented", "implementme"]
            .iter()
            .any(|word| text.contains(word))
    }
    let text = text_of(statement, code);
    match statement.kind() {
        "pass_statement"
        | "empty_statement"
        | "decorator"
        | "import_statement"
        | "import_from_statement"
        | "future_import_statement"
        | "use_declaration"
        | "import_declaration"
        | "package_declaration"
        | "package_clause"
        | "attribute_item"
        | "inner_attribute_item" => true,
        "expression_statement" => {
            let inner = statement.named_child(0).filter(|_| statement.named_child_count() == 1);
            inner.is_some_and(|inner| match inner.kind() {
                "string" | "ellipsis" => true,
                "macro_invocation" | "call_expression" => {
                    let is_panic = ["todo!", "unimplemented!", "panic"];
                    is_panic.iter().any(|name| text.starts_with(name)) && is_unimplemented(text)
                }
                _ => false,
            })
        }
        "macro_invocation" | "raise_statement" | "throw_statement" => is_unimplemented(text),
        "return_statement" => matches!(text, "return" | "return;" | "return None"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CodeLanguage::*;

    fn reason(language: CodeLanguage, code: &str) -> String {
        check(language, code).unwrap_err()
    }

    #[test]
    fn code_of_every_language_passes() {
        for (language, code) in [
            (
                Python,
                "def add(a: int, b: int = 1) -> int:\n    \"\"\"Adds.\"\"\"\n    return a + b\n",
            ),
            (Python, "async def f():\n    async with g() as h:\n        print(h, file=None)\n"),
            (Python, "x = [i for i in range(3)]; print(x)\nprint('a'); print(f'{x!r:>{3}}')"),
            (Python, "match x:\n    case [1, *rest]:\n        pass\n    case _:\n        y = 0o17"),
            (Python, "if x: y = 1\nelse:\n  # why\n    y = 00\n"),
            (Rust, "pub fn add(a: i32, b: i32) -> i32 {\n    a + b\n}"),
            (Rust, "fn name(&self) -> &str { &self.name }"),
            (JavaScript, "const add = (a, b) => a + b;\nexport default add;"),
            (JavaScript, "async load(url) { return await fetch(url); }"),
            (Go, "func Add(a, b int) int {\n\treturn a + b\n}"),
            (Go, "package main\n\nfunc (s *Set) Len() int { return len(s.items) }"),
            (Java, "public static int add(int a, int b) { return a + b; }"),
            (Java, "public Point(int x) { this.x = x; }"),
            (Java, "class A { private int x; int x() { return x; } }"),
            (Sql, "SELECT name, count(*) FROM singer GROUP BY name HAVING count(*) > 1;"),
            (Sql, "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT);\nSELECT 1"),
            (Sql, "SELECT * FROM t WHERE ts > now() - INTERVAL '1 day'"),
        ] {
            assert_eq!(check(language, code), Ok(()), "{language}: {code}");
            assert_eq!(placeholder(language, code), Ok(()), "{language}: {code}");
        }
    }

    #[test]
    fn what_is_not_code_is_refused_with_its_line() {
        for (language, code, expected) in [
            (Python, "", "the code is empty"),
            (Go, " \n\t", "the code is empty"),
            (Python, "# only a comment\n", "there is nothing but comments"),
            (Rust, "// only a comment", "there is nothing but comments"),
            (Sql, "-- only a comment", "there is no statement"),
            (Sql, ";;", "there is no statement"),
            (Python, "x = 1\ny = (2\n", "line 2: "),
            (Python, "def f(:\n    pass", "line 1: "),
            (Java, "int f() { return 1 }", "line 1: `;` is missing"),
            (Rust, "fn f() {\n    let x = ;\n}", "line 2: "),
            (JavaScript, "function f( {", "line 1: "),
            (Go, "func f() {\n\tx := \n}\nfunc", "line "),
            (Sql, "SELECT a FROM t\nWHERE", "line 2: expected"),
            (Sql, "SELECT a FROM t END", "line 1: syntax error near `END`"),
            (Sql, "Sure! SELECT 1", "line 1: expected"),
            (Sql, "SELECT 'a", "line 1: Unterminated string literal"),
        ] {
            let reason = reason(language, code);
            assert!(reason.starts_with(expected), "{language}: {code}: {reason}");
        }
    }

    /// Each of these parses as something with tree-sitter, and fails in CPython's `ast.parse`.
    #[test]
    fn python_that_only_the_grammar_takes_is_refused() {
        for (code, expected) in [
            ("def f():\n    print 'a'\n", "line 2: a print statement of Python 2"),
            ("exec 'x = 1'", "line 1: an exec statement of Python 2"),
            ("x = 0777", "line 1: an integer of Python 2"),
            ("x = 10L", "line 1: an integer of Python 2"),
            ("if a <> b:\n    c()", "line 1: the operator `<>` of Python 2"),
            ("def f():\nreturn 1\n", "line 1: an indented block is expected"),
            ("for x in y:\n    # nothing\nz()\n", "line 1: "),
            ("  x = 1\n", "line 1: the statements of a block are indented differently"),
            ("x = 1\n  y = 2\n", "line 1: the statements of a block are indented differently"),
            ("try:\n    x()\nexcept E, e:\n    y()\n", "line 3: an except clause of Python 2"),
        ] {
            let found = check(Python, code).err().unwrap_or_default();
            assert!(found.starts_with(expected), "{code}: {found}");
        }
    }

    #[test]
    fn promises_of_code_are_refused() {
        let nothing = "nothing is implemented";
        for (language, code, expected) in [
            (Python, "def f(x):\n    pass\n", nothing),
            (Python, "def f(x):\n    \"\"\"Adds.\"\"\"\n    ...\n", nothing),
            (Python, "import os\n\n@cache\ndef f(x):\n    raise NotImplementedError\n", nothing),
            (
                Python,
                "class A:\n    def f(self):\n        raise NotImplementedError('f')\n",
                nothing,
            ),
            (Python, "def f(x):\n    # TODO\n    return None\n", nothing),
            (Python, "...", nothing),
            (Rust, "fn f() -> u8 {\n    todo!()\n}", nothing),
            (Rust, "impl A { fn f(&self) { unimplemented!(\"later\"); } }", nothing),
            (JavaScript, "function f() {\n  throw new Error('Not implemented');\n}", nothing),
            (JavaScript, "export class A { f() {} }", nothing),
            (Go, "package a\n\nfunc f() {\n\tpanic(\"not implemented\")\n}", nothing),
            (Java, "int f() { throw new UnsupportedOperationException(); }", nothing),
            (
                Python,
                "def f(x):\n    # Your code here\n    x += 1\n    return x",
                "a comment stands",
            ),
            (Python, "def f(x):\n    y = 1\n    # ...\n    return y", "a comment stands"),
            (
                Go,
                "func f() int {\n\t// TODO: implement the cache\n\treturn 1\n}",
                "a comment stands",
            ),
            (JavaScript, "f(); // rest of the code", "a comment stands"),
            (Sql, "SELECT 1 -- add your query here", "a comment stands"),
            (Sql, "SELECT 1 /* ... */", "a comment stands"),
        ] {
            let found = placeholder(language, code).err().unwrap_or_default();
            assert!(found.starts_with(expected), "{language}: {code}: {found}");
            assert_eq!(check(language, code), Ok(()), "{language}: {code}");
        }
    }

    #[test]
    fn unfinished_parts_of_real_code_are_no_placeholder() {
        for (language, code) in [
            (Python, "class A:\n    def f(self):\n        raise NotImplementedError\n    x = 1\n"),
            (Python, "def f(x):\n    try:\n        g(x)\n    except ValueError:\n        pass\n"),
            (Python, "def f(x):\n    # TODO(ann): measure this again\n    return x * 2\n"),
            (Python, "def f(x):\n    # The rest of the line is kept.\n    return x * 2\n"),
            (Rust, "struct Point { x: i32 }"),
            (JavaScript, "setTimeout(() => {}, 10);"),
            (Go, "type Reader interface { Read() int }"),
            (Python, "x[..., 0] = 1"),
        ] {
            assert_eq!(placeholder(language, code), Ok(()), "{language}: {code}");
        }
    }

    #[test]
    fn deep_nesting_neither_overflows_the_stack_nor_takes_for_ever() {
        let depth = 100_000;
        for (language, open, close) in [
            (Python, "(", ")"),
            (Python, "[", ""),
            (Rust, "{", "}"),
            (JavaScript, "[", "]"),
            (JavaScript, "a(", ")"),
            (Go, "{", "}"),
            (Java, "{", "}"),
            (Sql, "SELECT (", ")"),
            (Sql, "(", ")"),
        ] {
            let code = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let _ = check(language, &code);
            let _ = placeholder(language, &code);
        }
        assert_eq!(
            reason(Sql, &format!("SELECT 1{}", " + a".repeat(5_000))),
            "the SQL has 10001 words and operators, more than 4000"
        );
        let long = format!("SELECT 1{}", " + a".repeat(MOST_SQL_TOKENS / 2 - 1));
        assert_eq!(check(Sql, &long), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_gets_an_answer(
            text in "(?s)[ -~\n\t]{0,200}|.{0,80}",
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "def f():", "\n    ", "\n", "{", "}", "(", ")", "class A", "fn", "func", "\"",
                    "'", "if", "=>", ";", "#", "//", "/*", "return", "x", "SELECT", "FROM", ",",
                ]),
                0..40,
            ),
        ) {
            for language in CodeLanguage::ALL {
                for text in [text.as_str(), &words.join(" ")] {
                    let answer = check(language, text);
                    assert_eq!(answer, check(language, text));
                    let _ = placeholder(language, text);
                }
            }
        }
    }
}
