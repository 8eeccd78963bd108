use crate::python_text::is_space;

/// The ORDER BY of a query, as the official `normalize_table` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OrderBy {
    /// The words of its first item, without their qualifiers; names of columns among them.
    pub(super) words: Vec<String>,
    /// Only where `ASC` is written.
    pub(super) ascending: bool,
}

/// Whether the order of the rows counts: Python's `\b(order|sort|arrange)\b` without regard to case,
/// to which the long s is an s.
pub(super) fn asks_for_order(category: &str, question: &str) -> bool {
    category == "order_by"
        || question
            .to_lowercase()
            .replace('ſ', "s")
            .split(|character: char| !character.is_alphanumeric() && character != '_')
            .any(|word| ["order", "sort", "arrange"].contains(&word))
}

/// The first ORDER BY in the text of a query, be it of a subquery or a window; `None` where there
/// is none with a single space in it.
pub(super) fn order_by(sql: &str) -> Option<OrderBy> {
    let mut rest = after_order_by(sql)?;
    // The item reaches to a comma, semicolon, parenthesis or the end of the text on the same line;
    // an ORDER BY without such an item gives way to the next one.
    let item = loop {
        if let Some(item) = first_item(rest) {
            break Some(item);
        }
        match after_order_by(rest) {
            Some(next) => rest = next,
            None => break None,
        }
    };
    let words: Vec<&str> = item
        .unwrap_or_default()
        .split(is_space)
        .filter(|word| !word.is_empty())
        .map(|word| word.rsplit_once('.').map_or(word, |(_, name)| name))
        .collect();
    let has = |keyword: &str| words.iter().any(|word| word.to_uppercase() == keyword);
    let ascending = !has("DESC") && has("ASC");
    let words = words
        .iter()
        .map(|word| word.replace([',', '('], ""))
        .filter(|word| {
            !["desc", "asc", "nulls", "last", "first", "limit"]
                .contains(&word.to_lowercase().as_str())
        })
        .collect();
    Some(OrderBy { words, ascending })
}

fn after_order_by(sql: &str) -> Option<&str> {
    const ORDER_BY: &[u8] = b"ORDER BY";
    let at = sql
        .as_bytes()
        .windows(ORDER_BY.len())
        .position(|window| window.eq_ignore_ascii_case(ORDER_BY))?;
    sql.get(at + ORDER_BY.len()..)
}

/// Python's `(.*?)(?=;|,|\)|$)` at the start of `text`, where `$` also stands before a final line
/// break.
fn first_item(text: &str) -> Option<&str> {
    match text.find([';', ',', ')', '\n']) {
        None => Some(text),
        Some(at) if text.get(at..)?.starts_with('\n') && at + 1 < text.len() => None,
        Some(at) => text.get(..at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_item_of_the_first_order_by_is_read() {
        let read = |sql| order_by(sql).map(|order| (order.words.join("|"), order.ascending));
        let some = |words: &str, ascending| Some((words.to_owned(), ascending));
        assert_eq!(read("SELECT 1"), None);
        assert_eq!(read("SELECT a ORDER  BY a"), None);
        assert_eq!(read("SELECT a ORDER BY t.a ASC, b DESC"), some("a", true));
        assert_eq!(read("SELECT a order by a"), some("a", false));
        assert_eq!(read("ORDER BY a DESC NULLS LAST LIMIT 5;"), some("a|5", false));
        assert_eq!(read("(x ORDER BY a) ORDER BY b ASC"), some("a", false));
        assert_eq!(read("ORDER BY\na"), some("", false));
        assert_eq!(read("(x ORDER BY a\n) ORDER BY b ASC\n"), some("b", true));
        assert_eq!(read("ORDER BY a\n"), some("a", false));
        assert_eq!(read("ORDER BY a\n\n"), some("", false));
    }

    #[test]
    fn only_whole_words_ask_for_an_order() {
        for question in ["Sort by name", "in order.", "re-arrange", "İorder", "ſort"] {
            assert!(asks_for_order("group_by", question), "{question}");
        }
        for question in ["the border", "sorted", "sort_by", "ordér", ""] {
            assert!(!asks_for_order("group_by", question), "{question}");
        }
        assert!(asks_for_order("order_by", "Which ones?"));
    }
}
