//! Functions and methods in a syntax tree, with their documentation.

use tree_sitter::Node;

use super::documentation;
use crate::CodeLanguage;
use crate::syntax_tree::{is_comment, line_of, named_children, text_of};

/// A function or method that is not inside another.
pub(super) struct Function<'t> {
    /// What is before its definition and belongs to it: Rust's attributes.
    attributes: Vec<Node<'t>>,
    /// The definition from its decorators, annotations or modifiers to its end.
    definition: Node<'t>,
    body: Node<'t>,
    /// The comments in the lines right above.
    comments: Vec<Node<'t>>,
    /// Its name.
    pub(super) name: &'t str,
    /// Whether it is a test or inside a module of tests.
    pub(super) is_test: bool,
}

/// What a node is to the search.
enum Role<'t> {
    Function {
        definition: Node<'t>,
        body: Option<Node<'t>>,
        name: Option<Node<'t>>,
    },
    /// What may hold functions: the body of a class.
    Container(Node<'t>),
    Other,
}

/// The functions of a file in order.
pub(super) fn functions<'t>(
    language: CodeLanguage,
    root: Node<'t>,
    source: &'t str,
) -> Vec<Function<'t>> {
    let mut functions = Vec::new();
    let mut open = vec![(root, false)];
    while let Some((container, in_tests)) = open.pop() {
        let mut comments: Vec<Node<'t>> = Vec::new();
        let mut attributes: Vec<Node<'t>> = Vec::new();
        for child in named_children(container) {
            if is_comment(child) {
                if !comments.last().is_some_and(|last| is_right_above(*last, child, source)) {
                    comments.clear();
                }
                if begins_line(child, source) {
                    comments.push(child);
                }
                continue;
            }
            if child.kind() == "attribute_item" {
                attributes.push(child);
                continue;
            }
            let attributes = std::mem::take(&mut attributes);
            let comments = std::mem::take(&mut comments);
            let is_test = in_tests || attributes.iter().any(|node| marks_test(*node, source));
            match role(child) {
                Role::Container(body) => open.push((body, is_test)),
                // The grammar of Python takes a definition after a semicolon, and Python does not.
                Role::Function { definition, body: Some(body), name: Some(name) }
                    if language != CodeLanguage::Python || begins_line(definition, source) =>
                {
                    let first = *attributes.first().unwrap_or(&child);
                    let is_documented =
                        comments.last().is_some_and(|last| is_right_above(*last, first, source));
                    let name = text_of(name, source);
                    let is_test = is_test
                        || language == CodeLanguage::Python && name.starts_with("test_")
                        || language == CodeLanguage::Java && marks_test(definition, source);
                    functions.push(Function {
                        attributes,
                        definition,
                        body,
                        comments: if is_documented { comments } else { Vec::new() },
                        name,
                        is_test,
                    });
                }
                Role::Function { .. } | Role::Other => {}
            }
        }
    }
    functions.sort_by_key(|function| function.definition.start_byte());
    functions
}

fn role(node: Node<'_>) -> Role<'_> {
    let function = |definition| Role::Function {
        definition,
        body: node.child_by_field_name("body"),
        name: node.child_by_field_name("name"),
    };
    match node.kind() {
        "function_definition"
        | "function_item"
        | "function_declaration"
        | "generator_function_declaration"
        | "method_definition"
        | "method_declaration" => function(node),
        "class_definition"
        | "class_declaration"
        | "interface_declaration"
        | "enum_declaration"
        | "record_declaration"
        | "impl_item"
        | "trait_item"
        | "mod_item" => node.child_by_field_name("body").map_or(Role::Other, Role::Container),
        "enum_body_declarations" => Role::Container(node),
        // Its definition is a function or a class, never again decorated.
        "decorated_definition" => match node.child_by_field_name("definition").map(role) {
            Some(Role::Function { body, name, .. }) => {
                Role::Function { definition: node, body, name }
            }
            Some(other) => other,
            None => Role::Other,
        },
        // Its declaration is none that exports.
        "export_statement" => node.child_by_field_name("declaration").map_or(Role::Other, role),
        "lexical_declaration" | "variable_declaration" => {
            let declarator = node.named_child(0).filter(|_| node.named_child_count() == 1);
            assigned_function(node, declarator, "name", "value")
        }
        "expression_statement" => {
            let assignment =
                node.named_child(0).filter(|child| child.kind() == "assignment_expression");
            assigned_function(node, assignment, "left", "right")
        }
        _ => Role::Other,
    }
}

/// JavaScript's `const name = function`, `exports.name = function` and the like with arrows.
fn assigned_function<'t>(
    definition: Node<'t>,
    assignment: Option<Node<'t>>,
    target: &str,
    value: &str,
) -> Role<'t> {
    let found = || {
        let assignment = assignment?;
        let function = assignment.child_by_field_name(value)?;
        let kinds = ["arrow_function", "function_expression", "generator_function"];
        if !kinds.contains(&function.kind()) {
            return None;
        }
        let target = assignment.child_by_field_name(target)?;
        let name = target.child_by_field_name("property").unwrap_or(target);
        Some(Role::Function {
            definition,
            body: function.child_by_field_name("body"),
            name: Some(name).filter(|name| name.kind().ends_with("identifier")),
        })
    };
    found().unwrap_or(Role::Other)
}

/// Whether a Rust attribute or a Java annotation makes what follows a test.
fn marks_test(node: Node<'_>, source: &str) -> bool {
    let text = match node.kind() {
        "attribute_item" => text_of(node, source),
        _ => match node.named_child(0).filter(|first| first.kind() == "modifiers") {
            Some(modifiers) => text_of(modifiers, source),
            None => return false,
        },
    };
    ["cfg(test", "[test", "::test]", "[bench", "@Test", "@ParameterizedTest"]
        .iter()
        .any(|mark| text.contains(mark))
}

/// Whether a node starts in the line after a comment, or in its last.
fn is_right_above(comment: Node<'_>, node: Node<'_>, source: &str) -> bool {
    // Rust's doc comments reach into the next line.
    let lines = text_of(comment, source).trim_end().matches('\n').count();
    let last = comment.start_position().row + lines;
    node.start_position().row <= last + 1
}

fn begins_line(node: Node<'_>, source: &str) -> bool {
    indentation(node, source).is_some()
}

/// The white space before a node that begins its line.
fn indentation<'s>(node: Node<'_>, source: &'s str) -> Option<&'s str> {
    let start = node.start_byte();
    let before = source.get(start.checked_sub(node.start_position().column)?..start)?;
    before.trim().is_empty().then_some(before)
}

impl Function<'_> {
    /// The line of its first character, counted from 1.
    pub(super) fn line(&self) -> usize {
        line_of(*self.attributes.first().unwrap_or(&self.definition))
    }

    /// Whether a part of it does not parse.
    pub(super) fn has_error(&self) -> bool {
        self.definition.has_error()
    }

    /// The code without its documentation and common indentation, and the documentation.
    pub(super) fn without_documentation(
        &self,
        language: CodeLanguage,
        source: &str,
    ) -> (String, Option<String>) {
        let whole = text_of(self.definition, source);
        let (definition, docstring) = match language {
            CodeLanguage::Python => match self.without_docstring(source) {
                Some((code, docstring)) => (code, docstring),
                None => (whole.to_owned(), None),
            },
            _ => (whole.to_owned(), self.documentation_above(language, source)),
        };
        let indentation = indentation(self.definition, source).unwrap_or_default();
        let mut lines: Vec<&str> = Vec::new();
        let attributes = self.attributes.iter().map(|attribute| text_of(*attribute, source));
        for text in attributes.chain([definition.as_str()]) {
            lines.extend(text.lines().map(|line| match line.strip_prefix(indentation) {
                Some(rest) => rest,
                None if line.trim().is_empty() => "",
                None => line,
            }));
        }
        (lines.join("\n").trim_end().to_owned(), docstring)
    }

    /// The comments above that are documentation.
    fn documentation_above(&self, language: CodeLanguage, source: &str) -> Option<String> {
        let texts = || self.comments.iter().map(|comment| text_of(*comment, source).trim());
        let block = texts().next_back().filter(|last| {
            last.starts_with(if language == CodeLanguage::Go { "/*" } else { "/**" })
        });
        if let Some(block) = block {
            return documentation::of_block(block);
        }
        let mark = match language {
            CodeLanguage::Rust => "///",
            CodeLanguage::Go => "//",
            _ => return None,
        };
        let is_documentation = |text: &&str| {
            let directives = ["////", "//go:", "//nolint", "// +build", "//export"];
            text.starts_with(mark) && !directives.iter().any(|start| text.starts_with(start))
        };
        documentation::of_lines(texts().filter(is_documentation), mark)
    }

    /// A Python definition without its docstring, where that has lines of its own, and the docstring.
    fn without_docstring(&self, source: &str) -> Option<(String, Option<String>)> {
        let mut statements =
            named_children(self.body).into_iter().filter(|node| !is_comment(*node));
        let first = statements.next().filter(|first| first.kind() == "expression_statement")?;
        let literal = first
            .named_child(0)
            .filter(|inner| inner.kind() == "string" && first.named_child_count() == 1)?;
        let docstring = documentation::of_string(text_of(literal, source));
        let line_start = first.start_byte().checked_sub(indentation(first, source)?.len())?;
        let after = source.get(first.end_byte()..self.definition.end_byte())?;
        let (rest_of_line, rest) = after.split_once('\n')?;
        if !rest_of_line.trim().is_empty() {
            return None;
        }
        let before = source.get(self.definition.start_byte()..line_start)?;
        // Blank lines below the docstring belong to it.
        let text = rest.trim_start();
        let blank = rest.get(..rest.len() - text.len())?.rfind('\n').map_or(0, |end| end + 1);
        Some((format!("{before}{}", rest.get(blank..)?), docstring))
    }
}
