use std::ops::ControlFlow;

use tree_sitter::{Language, Node, ParseOptions, ParseState, Parser, Tree};

use crate::CodeLanguage;

/// The longest text that is parsed, in bytes.
pub(crate) const MOST_BYTES: usize = 1 << 20;

/// The syntax tree of a text; `None` for SQL, which has no grammar here, and for a text that is too long
/// or too hard to parse.
///
/// Ambiguous nonsense can take tree-sitter time that is not linear in the text. What it may take is
/// counted in steps of the parser and not in seconds, so that a text gets the same answer everywhere.
pub(crate) fn parse(language: CodeLanguage, source: &str) -> Option<Tree> {
    /// tree-sitter calls back about once in 100 steps; code takes under one call per 100 bytes.
    const CALLS_BEFORE_BYTES: usize = 1_000;
    if source.len() > MOST_BYTES {
        return None;
    }
    let mut parser = Parser::new();
    parser.set_language(&grammar(language)?).ok()?;
    let mut calls = 0;
    let mut within_bounds = |_: &ParseState| {
        calls += 1;
        if calls > CALLS_BEFORE_BYTES + source.len() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let options = ParseOptions::new().progress_callback(&mut within_bounds);
    let mut read = |offset, _| source.as_bytes().get(offset..).unwrap_or_default();
    parser.parse_with_options(&mut read, None, Some(options))
}

fn grammar(language: CodeLanguage) -> Option<Language> {
    Some(match language {
        CodeLanguage::Python => tree_sitter_python::LANGUAGE.into(),
        CodeLanguage::Rust => tree_sitter_rust::LANGUAGE.into(),
        CodeLanguage::JavaScript => tree_sitter_javascript::LANGUAGE.into(),
        CodeLanguage::Go => tree_sitter_go::LANGUAGE.into(),
        CodeLanguage::Java => tree_sitter_java::LANGUAGE.into(),
        CodeLanguage::Sql => return None,
    })
}

/// A node and all below it, parents first, without recursion: however deep a tree is, the stack is not.
pub(crate) fn preorder(node: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    let mut cursor = Some(node.walk());
    std::iter::from_fn(move || {
        let place = cursor.as_mut()?;
        let node = place.node();
        if !place.goto_first_child() {
            while !place.goto_next_sibling() {
                if !place.goto_parent() {
                    cursor = None;
                    break;
                }
            }
        }
        Some(node)
    })
}

/// The children of a node that are not punctuation, comments among them.
pub(crate) fn named_children(node: Node<'_>) -> Vec<Node<'_>> {
    node.named_children(&mut node.walk()).collect()
}

/// The source of a node.
pub(crate) fn text_of<'s>(node: Node<'_>, source: &'s str) -> &'s str {
    source.get(node.byte_range()).unwrap_or_default()
}

/// Whether a node is a comment, in any of the grammars.
pub(crate) fn is_comment(node: Node<'_>) -> bool {
    matches!(node.kind(), "comment" | "line_comment" | "block_comment" | "html_comment")
}

/// The line of a node's first character, counted from 1.
pub(crate) fn line_of(node: Node<'_>) -> usize {
    node.start_position().row + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preorder_meets_every_node_once() {
        let source = "def f(a, b):\n    return [a, (b, 1)]\n\nclass C:\n    x = 1\n";
        let tree = parse(CodeLanguage::Python, source).unwrap();
        fn recursive<'t>(node: Node<'t>, all: &mut Vec<Node<'t>>) {
            all.push(node);
            for child in node.children(&mut node.walk()) {
                recursive(child, all);
            }
        }
        let mut expected = Vec::new();
        recursive(tree.root_node(), &mut expected);
        assert_eq!(preorder(tree.root_node()).collect::<Vec<_>>(), expected);
        let class = tree.root_node().child(1).unwrap();
        assert_eq!(preorder(class).next(), Some(class));
        assert!(preorder(class).all(|node| node.start_byte() >= class.start_byte()));
    }

    #[test]
    fn a_text_that_is_too_long_has_no_tree() {
        assert!(parse(CodeLanguage::Python, &"x\n".repeat(MOST_BYTES)).is_none());
        assert!(parse(CodeLanguage::Sql, "SELECT 1").is_none());
    }
}
