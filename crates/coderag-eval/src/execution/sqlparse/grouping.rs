//! Which statements sqlparse refuses: a port of the behaviour of its `engine.grouping`.
//!
//! Parsing builds a tree over the tokens of a statement in some 25 passes, and most of them raise
//! an error where the tree lies too deep or a group has too many members. A chain of additions is
//! such a tree as well: `1 + 1 + ... + 1` nests one level for each sign. The tree is of no use
//! besides, since nothing reads more than its leaves, and those are the tokens again. So the passes
//! only run where a statement has enough tokens to reach a limit.

use super::keywords::upper;
use super::{GroupingLimits, Token, TokenKind};
use crate::error::{Error, Result};

/// Fails where sqlparse fails to group a statement.
pub(super) fn check(statement: &[Token<'_>], limits: GroupingLimits) -> Result<()> {
    // A group inside a group adds a token that is no space: it has two members, or it is the
    // wrapping of one token. Only a group at `:=` may hold one group and nothing else.
    let levels: usize = statement
        .iter()
        .map(|token| match token.kind {
            kind if kind.is_space() => 0,
            TokenKind::Assignment => 2,
            _ => 1,
        })
        .sum();
    if levels <= limits.depth && statement.len() <= limits.tokens {
        return Ok(());
    }
    Grouping::new(statement, limits).run()
}

/// What a group is. sqlparse has a class for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Statement,
    Comment,
    SquareBrackets,
    Parenthesis,
    Case,
    If,
    For,
    Begin,
    Over,
    Function,
    Where,
    Identifier,
    TypedLiteral,
    Operation,
    Comparison,
    Assignment,
    IdentifierList,
}

impl Class {
    /// Groups of which the first and the last member are delimiters.
    fn is_delimited(self) -> bool {
        matches!(
            self,
            Self::SquareBrackets
                | Self::Parenthesis
                | Self::Case
                | Self::If
                | Self::For
                | Self::Begin
        )
    }
}

/// A token or a group of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Token(TokenKind),
    Group(Class),
}

impl Shape {
    fn is_token(self, kinds: &[TokenKind]) -> bool {
        matches!(self, Self::Token(kind) if kinds.contains(&kind))
    }

    fn is_group(self, classes: &[Class]) -> bool {
        matches!(self, Self::Group(class) if classes.contains(&class))
    }

    fn is_space(self) -> bool {
        matches!(self, Self::Token(kind) if kind.is_space())
    }

    fn is_comment(self) -> bool {
        matches!(self, Self::Token(kind) if kind.is_comment())
    }

    /// `T.Name` and the types below it.
    fn is_name(self) -> bool {
        self.is_token(&[TokenKind::Name, TokenKind::Placeholder, TokenKind::Builtin])
    }
}

/// The position of a node in [`Grouping::nodes`].
type NodeId = usize;

#[derive(Debug)]
struct Node<'text> {
    shape: Shape,
    /// The text of a token, of a group nothing.
    text: &'text str,
    members: Vec<NodeId>,
}

/// The passes that join what lies on both sides of a token (`_group`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joint {
    Period,
    Array,
    TypeCast,
    TimeZoneCast,
    TypedLiteral,
    LongerTypedLiteral,
    Operator,
    Comparison,
    As,
    Assignment,
    IdentifierList,
}

impl Joint {
    /// The class of the groups it makes.
    fn class(self) -> Class {
        match self {
            Self::Period | Self::Array | Self::TypeCast | Self::TimeZoneCast | Self::As => {
                Class::Identifier
            }
            Self::TypedLiteral | Self::LongerTypedLiteral => Class::TypedLiteral,
            Self::Operator => Class::Operation,
            Self::Comparison => Class::Comparison,
            Self::Assignment => Class::Assignment,
            Self::IdentifierList => Class::IdentifierList,
        }
    }

    /// Whether a group on the left takes in what follows, instead of becoming a member of a new
    /// group.
    fn extends(self) -> bool {
        !matches!(self, Self::TypedLiteral | Self::Operator | Self::Comparison)
    }
}

struct Grouping<'text> {
    nodes: Vec<Node<'text>>,
    limits: GroupingLimits,
}

/// The node of the statement itself.
const ROOT: NodeId = 0;

impl<'text> Grouping<'text> {
    fn new(statement: &[Token<'text>], limits: GroupingLimits) -> Self {
        let mut nodes = Vec::with_capacity(2 * statement.len() + 1);
        nodes.push(Node {
            shape: Shape::Group(Class::Statement),
            text: "",
            members: (1..=statement.len()).collect(),
        });
        nodes.extend(statement.iter().map(|token| Node {
            shape: Shape::Token(token.kind),
            text: token.text,
            members: Vec::new(),
        }));
        Self { nodes, limits }
    }

    /// All passes but the last one, which checks nothing.
    fn run(mut self) -> Result<()> {
        self.comments();
        for class in [
            Class::SquareBrackets,
            Class::Parenthesis,
            Class::Case,
            Class::If,
            Class::For,
            Class::Begin,
        ] {
            self.matching(ROOT, class, 0)?;
        }
        // The next three passes follow every level. There are no identifiers yet, so what lies too
        // deep now does so in the first pass that checks again, if Python's own limit is not
        // reached before.
        self.check_levels(ROOT, 0)?;
        self.over(ROOT);
        self.functions(ROOT);
        self.wheres(ROOT);
        self.join(ROOT, Joint::Period, 0)?;
        self.join(ROOT, Joint::Array, 0)?;
        self.identifiers(ROOT);
        self.orders(ROOT);
        self.join(ROOT, Joint::TypeCast, 0)?;
        self.join(ROOT, Joint::TimeZoneCast, 0)?;
        self.join(ROOT, Joint::TypedLiteral, 0)?;
        self.join(ROOT, Joint::LongerTypedLiteral, 0)?;
        self.join(ROOT, Joint::Operator, 0)?;
        self.join(ROOT, Joint::Comparison, 0)?;
        self.join(ROOT, Joint::As, 0)?;
        self.aliases(ROOT);
        self.join(ROOT, Joint::Assignment, 0)?;
        self.align_comments(ROOT);
        self.join(ROOT, Joint::IdentifierList, 0)
    }

    fn shape(&self, node: NodeId) -> Shape {
        self.nodes.get(node).map_or(Shape::Token(TokenKind::Other), |node| node.shape)
    }

    fn text(&self, node: NodeId) -> &'text str {
        self.nodes.get(node).map_or("", |node| node.text)
    }

    fn members(&self, node: NodeId) -> &[NodeId] {
        self.nodes.get(node).map_or(&[], |node| node.members.as_slice())
    }

    fn member(&self, list: NodeId, position: usize) -> Option<NodeId> {
        self.members(list).get(position).copied()
    }

    /// The groups among the members.
    fn groups(&self, list: NodeId) -> Vec<NodeId> {
        let is_group = |node: &NodeId| matches!(self.shape(*node), Shape::Group(_));
        self.members(list).iter().copied().filter(is_group).collect()
    }

    /// Whether a node is a token of exactly this kind with one of the texts, in any case for
    /// keywords (`Token.match`).
    fn is(&self, node: NodeId, kind: TokenKind, texts: &[&str]) -> bool {
        self.shape(node) == Shape::Token(kind)
            && match kind.is_keyword() {
                true => texts.contains(&upper(self.text(node)).as_ref()),
                false => texts.contains(&self.text(node)),
            }
    }

    /// The first position from `start` on with such a member.
    fn find(
        &self,
        list: NodeId,
        start: usize,
        is_wanted: impl Fn(NodeId) -> bool,
    ) -> Option<usize> {
        let members = self.members(list).get(start..)?;
        members.iter().position(|member| is_wanted(*member)).map(|found| start + found)
    }

    /// The position of the next member that is no space.
    fn next(&self, list: NodeId, position: usize) -> Option<usize> {
        self.find(list, position + 1, |node| !self.shape(node).is_space())
    }

    /// The position of the last member before `position` that is no space.
    fn previous(&self, list: NodeId, position: usize) -> Option<usize> {
        let members = self.members(list).get(..position)?;
        members.iter().rposition(|member| !self.shape(*member).is_space())
    }

    /// Makes a group of the members from `start` to `end`, both included, or lets the group at
    /// `start` take in the others (`group_tokens`). The group.
    fn group(
        &mut self,
        list: NodeId,
        class: Class,
        start: usize,
        end: usize,
        extends: bool,
    ) -> Option<NodeId> {
        let first = self.member(list, start)?;
        let is_extended = extends && self.shape(first).is_group(&[class]);
        self.regroup(list, start, end, is_extended.then_some(first), class)
    }

    /// [`Self::group`] where it is known which group is extended, if any.
    fn regroup(
        &mut self,
        list: NodeId,
        start: usize,
        end: usize,
        extended: Option<NodeId>,
        class: Class,
    ) -> Option<NodeId> {
        let new = self.nodes.len();
        let members = &mut self.nodes.get_mut(list)?.members;
        let from = start + usize::from(extended.is_some());
        // An empty range where the end lies before the start, as of a slice in Python.
        let to = (end + 1).clamp(from, members.len().max(from));
        if from > members.len() {
            return None;
        }
        let taken: Vec<NodeId> = match extended {
            Some(_) => members.drain(from..to).collect(),
            None => members.splice(from..to, [new]).collect(),
        };
        match extended {
            Some(group) => {
                self.nodes.get_mut(group)?.members.extend(taken);
                Some(group)
            }
            None => {
                self.nodes.push(Node { shape: Shape::Group(class), text: "", members: taken });
                Some(new)
            }
        }
    }

    fn check_depth(&self, depth: usize) -> Result<()> {
        match depth > self.limits.depth {
            true => Err(Error::NestedTooDeeply { limit: self.limits.depth }),
            false => Ok(()),
        }
    }

    fn check(&self, list: NodeId, depth: usize) -> Result<()> {
        self.check_depth(depth)?;
        if self.members(list).len() > self.limits.tokens {
            return Err(Error::TooManyTokens { limit: self.limits.tokens });
        }
        Ok(())
    }

    /// Fails where any group lies too deep.
    fn check_levels(&self, list: NodeId, depth: usize) -> Result<()> {
        self.check_depth(depth)?;
        self.groups(list).into_iter().try_for_each(|group| self.check_levels(group, depth + 1))
    }

    /// Comments that follow each other, and the ends of lines between them. Only where something
    /// else follows.
    fn comments(&mut self) {
        let members = self.members(ROOT).to_vec();
        let is_line_end = |node: NodeId| self.shape(node) == Shape::Token(TokenKind::Newline);
        let is_taken = |node: &NodeId| self.shape(*node).is_comment() || is_line_end(*node);
        let mut grouped = Vec::with_capacity(members.len());
        let mut comments = Vec::new();
        let mut rest = members.as_slice();
        while let Some((first, behind)) = rest.split_first() {
            let length = rest.iter().take_while(|node| is_taken(node)).count();
            if !self.shape(*first).is_comment() {
                grouped.push(*first);
                rest = behind;
            } else if length == rest.len() {
                grouped.extend(rest);
                break;
            } else {
                let (run, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                grouped.push(self.nodes.len() + comments.len());
                comments.push(Node {
                    shape: Shape::Group(Class::Comment),
                    text: "",
                    members: run.to_vec(),
                });
                rest = behind;
            }
        }
        self.nodes.extend(comments);
        if let Some(root) = self.nodes.get_mut(ROOT) {
            root.members = grouped;
        }
    }

    /// What lies between an opening and a closing token (`_group_matching`).
    fn matching(&mut self, list: NodeId, class: Class, depth: usize) -> Result<()> {
        self.check(list, depth)?;
        let (kind, openers, closer): (_, &[&str], &str) = match class {
            Class::SquareBrackets => (TokenKind::Punctuation, &["["], "]"),
            Class::Parenthesis => (TokenKind::Punctuation, &["("], ")"),
            Class::Case => (TokenKind::Keyword, &["CASE"], "END"),
            Class::If => (TokenKind::Keyword, &["IF"], "END IF"),
            Class::For => (TokenKind::Keyword, &["FOR", "FOREACH"], "END LOOP"),
            Class::Begin => (TokenKind::Keyword, &["BEGIN"], "END"),
            _ => return Ok(()),
        };
        let mut open = Vec::new();
        let mut removed = 0;
        for (index, node) in self.members(list).to_vec().into_iter().enumerate() {
            let position = index - removed;
            match self.shape(node) {
                Shape::Group(other) if other != class => self.matching(node, class, depth + 1)?,
                _ if self.is(node, kind, openers) => open.push(position),
                _ if self.is(node, kind, &[closer]) => {
                    if let Some(start) = open.pop() {
                        self.group(list, class, start, position, false);
                        removed += position - start;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn over(&mut self, list: NodeId) {
        self.inside(list, &[Class::Over], Self::over);
        let mut start = 0;
        while let Some(found) =
            self.find(list, start, |node| self.is(node, TokenKind::Keyword, &["OVER"]))
        {
            if let Some(next) = self.next(list, found)
                && let Some(node) = self.member(list, next)
                && (self.shape(node).is_group(&[Class::Parenthesis]) || self.shape(node).is_name())
            {
                self.group(list, Class::Over, found, next, false);
            }
            start = found + 1;
        }
    }

    /// A pass over the groups among the members, but for those of some classes (`@recurse`).
    fn inside(&mut self, list: NodeId, but: &[Class], pass: fn(&mut Self, NodeId)) {
        for group in self.groups(list) {
            if !self.shape(group).is_group(but) {
                pass(self, group);
            }
        }
    }

    fn functions(&mut self, list: NodeId) {
        self.inside(list, &[Class::Function], Self::functions);
        // The words count whatever they are, also as the name of something.
        let has =
            |word: &str| self.members(list).iter().any(|node| upper(self.text(*node)) == word);
        if has("CREATE") && has("TABLE") && !has("AS") {
            return;
        }
        let mut start = 0;
        while let Some(found) = self.find(list, start, |node| self.shape(node).is_name()) {
            if let Some(next) = self.next(list, found)
                && let Some(node) = self.member(list, next)
                && self.shape(node).is_group(&[Class::Parenthesis])
            {
                let is_over = |position: &usize| {
                    let node = self.member(list, *position);
                    node.is_some_and(|node| self.shape(node).is_group(&[Class::Over]))
                };
                let end = self.next(list, next).filter(is_over).unwrap_or(next);
                self.group(list, Class::Function, found, end, false);
            }
            start = found + 1;
        }
    }

    fn wheres(&mut self, list: NodeId) {
        const ENDS: [&str; 10] = [
            "ORDER BY",
            "GROUP BY",
            "LIMIT",
            "UNION",
            "UNION ALL",
            "EXCEPT",
            "INTERSECT",
            "HAVING",
            "RETURNING",
            "INTO",
        ];
        self.inside(list, &[Class::Where], Self::wheres);
        let mut start = 0;
        while let Some(found) =
            self.find(list, start, |node| self.is(node, TokenKind::Keyword, &["WHERE"]))
        {
            let is_bracketed =
                self.shape(list).is_group(&[Class::Parenthesis, Class::SquareBrackets]);
            let end = self
                .find(list, found + 1, |node| self.is(node, TokenKind::Keyword, &ENDS))
                .unwrap_or(self.members(list).len().saturating_sub(usize::from(is_bracketed)));
            self.group(list, Class::Where, found, end.saturating_sub(1), false);
            start = found + 1;
        }
    }

    fn identifiers(&mut self, list: NodeId) {
        self.inside(list, &[Class::Identifier], Self::identifiers);
        let mut start = 0;
        while let Some(found) = self.find(list, start, |node| {
            self.shape(node).is_token(&[TokenKind::DoubleQuoted, TokenKind::Name])
        }) {
            self.group(list, Class::Identifier, found, found, false);
            start = found + 1;
        }
    }

    fn orders(&mut self, list: NodeId) {
        self.inside(list, &[Class::Identifier], Self::orders);
        let mut start = 0;
        while let Some(found) =
            self.find(list, start, |node| self.shape(node).is_token(&[TokenKind::OrderKeyword]))
        {
            start = found + 1;
            if let Some(previous) = self.previous(list, found)
                && let Some(node) = self.member(list, previous)
                && (self.shape(node).is_group(&[Class::Identifier]) || is_number(self.shape(node)))
            {
                self.group(list, Class::Identifier, previous, found, false);
                start = previous + 1;
            }
        }
    }

    fn aliases(&mut self, list: NodeId) {
        const NAMED: [Class; 6] = [
            Class::Parenthesis,
            Class::Function,
            Class::Case,
            Class::Identifier,
            Class::Operation,
            Class::Comparison,
        ];
        self.inside(list, &[], Self::aliases);
        let mut start = 0;
        while let Some(found) = self.find(list, start, |node| {
            self.shape(node).is_group(&NAMED) || is_number(self.shape(node))
        }) {
            if let Some(next) = self.next(list, found)
                && let Some(node) = self.member(list, next)
                && self.shape(node).is_group(&[Class::Identifier])
            {
                self.group(list, Class::Identifier, found, next, true);
            }
            start = found + 1;
        }
    }

    /// Comments become members of the group before them.
    fn align_comments(&mut self, list: NodeId) {
        self.inside(list, &[], Self::align_comments);
        let mut start = 0;
        while let Some(found) =
            self.find(list, start, |node| self.shape(node).is_group(&[Class::Comment]))
        {
            start = found + 1;
            if let Some(previous) = self.previous(list, found)
                && let Some(node) = self.member(list, previous)
                && let Shape::Group(class) = self.shape(node)
            {
                self.regroup(list, previous, found, Some(node), class);
                start = previous + 1;
            }
        }
    }

    /// What lies on both sides of a token, with that token (`_group`).
    fn join(&mut self, list: NodeId, joint: Joint, depth: usize) -> Result<()> {
        self.check(list, depth)?;
        let mut removed = 0_isize;
        let mut previous: Option<(usize, NodeId)> = None;
        for (index, node) in self.members(list).to_vec().into_iter().enumerate() {
            // Members of a group that was made just now are looked at as well, with the position of
            // the group or, where it took in several, one before it.
            let Some(position) = index.checked_add_signed(-removed) else { continue };
            if self.shape(node).is_space() {
                continue;
            }
            if joint != Joint::Array
                && let Shape::Group(class) = self.shape(node)
                && class != joint.class()
            {
                self.join(node, joint, depth + 1)?;
            }
            if self.is_joint(node, joint)
                && let Some((left, left_node)) = previous
            {
                let right = self.next(list, position);
                let right_node = right.and_then(|right| self.member(list, right));
                if self.is_valid_left(left_node, joint)
                    && self.is_valid_right(right_node, joint)
                    && !self.is_delimiter(list, Some(left_node))
                    && !self.is_delimiter(list, right_node)
                {
                    let (start, end) = match joint {
                        Joint::Array => (left, position),
                        Joint::Period if !self.is_name_part(right_node) => (left, position),
                        Joint::TypedLiteral | Joint::LongerTypedLiteral => {
                            (position, right.unwrap_or(position))
                        }
                        Joint::Assignment => {
                            let right = right.unwrap_or(position);
                            let end = self.find(list, right + 1, |node| {
                                self.is(node, TokenKind::Punctuation, &[";"])
                            });
                            (left, end.unwrap_or(right))
                        }
                        Joint::Operator => {
                            // The star of a product is no wildcard any more.
                            if let Some(sign) = self.member(list, position)
                                && let Some(sign) = self.nodes.get_mut(sign)
                            {
                                sign.shape = Shape::Token(TokenKind::Operator);
                            }
                            (left, right.unwrap_or(position))
                        }
                        _ => (left, right.unwrap_or(position)),
                    };
                    let group = self.group(list, joint.class(), start, end, joint.extends());
                    removed += end.cast_signed() - start.cast_signed();
                    previous = group.map(|group| (start, group));
                    continue;
                }
            }
            previous = Some((position, node));
        }
        Ok(())
    }

    fn is_joint(&self, node: NodeId, joint: Joint) -> bool {
        let shape = self.shape(node);
        match joint {
            Joint::Period => {
                self.is(node, TokenKind::Punctuation, &["."])
                    || self.is(node, TokenKind::Operator, &["->", "->>"])
            }
            Joint::Array => shape.is_group(&[Class::SquareBrackets]),
            Joint::TypeCast => self.is(node, TokenKind::Punctuation, &["::"]),
            Joint::TimeZoneCast => shape.is_token(&[TokenKind::TimeZoneCast]),
            Joint::TypedLiteral => {
                shape.is_token(&[TokenKind::Builtin])
                    || self.is(node, TokenKind::Keyword, &["TIMESTAMP"])
            }
            Joint::LongerTypedLiteral => shape.is_group(&[Class::TypedLiteral]),
            Joint::Operator => shape.is_token(&[TokenKind::Operator, TokenKind::Wildcard]),
            Joint::Comparison => shape.is_token(&[TokenKind::Comparison]),
            Joint::As => {
                matches!(shape, Shape::Token(kind) if kind.is_keyword())
                    && upper(self.text(node)) == "AS"
            }
            Joint::Assignment => shape.is_token(&[TokenKind::Assignment]),
            Joint::IdentifierList => self.is(node, TokenKind::Punctuation, &[","]),
        }
    }

    fn is_valid_left(&self, node: NodeId, joint: Joint) -> bool {
        let shape = self.shape(node);
        match joint {
            Joint::Period => {
                shape.is_group(&[Class::SquareBrackets, Class::Identifier])
                    || shape.is_token(&[TokenKind::Name, TokenKind::DoubleQuoted])
            }
            Joint::Array => {
                shape.is_group(&[Class::SquareBrackets, Class::Identifier, Class::Function])
                    || shape.is_token(&[TokenKind::Name, TokenKind::DoubleQuoted])
            }
            Joint::TypeCast
            | Joint::TimeZoneCast
            | Joint::TypedLiteral
            | Joint::LongerTypedLiteral => true,
            Joint::As => {
                !matches!(shape, Shape::Token(kind) if kind.is_keyword())
                    || upper(self.text(node)) == "NULL"
            }
            Joint::Operator | Joint::Comparison | Joint::Assignment | Joint::IdentifierList => {
                self.is_operand(node, joint)
            }
        }
    }

    fn is_valid_right(&self, node: Option<NodeId>, joint: Joint) -> bool {
        let Some(node) = node else { return matches!(joint, Joint::Period | Joint::Array) };
        match joint {
            Joint::Period | Joint::Array | Joint::TypeCast => true,
            Joint::TimeZoneCast => {
                self.is(node, TokenKind::Keyword, &["AS"])
                    || self.shape(node).is_token(&[TokenKind::SingleQuoted])
            }
            Joint::TypedLiteral => self.shape(node).is_token(&[TokenKind::SingleQuoted]),
            Joint::LongerTypedLiteral => self.is(
                node,
                TokenKind::Keyword,
                &["DAY", "HOUR", "MINUTE", "MONTH", "SECOND", "YEAR"],
            ),
            Joint::As => !self.shape(node).is_token(&[TokenKind::StatementKeyword]),
            Joint::Operator | Joint::Comparison | Joint::Assignment | Joint::IdentifierList => {
                self.is_operand(node, joint)
            }
        }
    }

    /// Whether a node may stand on either side of such a token.
    fn is_operand(&self, node: NodeId, joint: Joint) -> bool {
        let shape = self.shape(node);
        let is_value = shape.is_token(&[
            TokenKind::Number,
            TokenKind::SingleQuoted,
            TokenKind::DoubleQuoted,
            TokenKind::Name,
            TokenKind::Placeholder,
        ]);
        match joint {
            Joint::Operator => {
                is_value
                    || shape.is_group(&[
                        Class::SquareBrackets,
                        Class::Parenthesis,
                        Class::Function,
                        Class::Identifier,
                        Class::Operation,
                        Class::TypedLiteral,
                    ])
                    || self.is(
                        node,
                        TokenKind::Keyword,
                        &["CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"],
                    )
            }
            Joint::Comparison => {
                is_value
                    || shape.is_group(&[
                        Class::Parenthesis,
                        Class::Function,
                        Class::Identifier,
                        Class::Operation,
                        Class::TypedLiteral,
                    ])
                    || self.is(node, TokenKind::Keyword, &["NULL"])
            }
            Joint::IdentifierList => {
                is_value
                    || shape.is_token(&[TokenKind::Keyword, TokenKind::Wildcard])
                    || shape.is_group(&[
                        Class::Function,
                        Class::Case,
                        Class::Identifier,
                        Class::Comparison,
                        Class::IdentifierList,
                        Class::Operation,
                    ])
            }
            _ => !shape.is_token(&[TokenKind::Keyword]),
        }
    }

    /// Whether a node may stand behind a point.
    fn is_name_part(&self, node: Option<NodeId>) -> bool {
        node.is_some_and(|node| {
            let shape = self.shape(node);
            shape.is_group(&[Class::SquareBrackets, Class::Function])
                || shape.is_token(&[
                    TokenKind::Name,
                    TokenKind::DoubleQuoted,
                    TokenKind::Wildcard,
                    TokenKind::SingleQuoted,
                ])
        })
    }

    /// Whether a node opens or closes the group it is a member of.
    fn is_delimiter(&self, list: NodeId, node: Option<NodeId>) -> bool {
        let members = self.members(list);
        matches!(self.shape(list), Shape::Group(class) if class.is_delimited())
            && node.is_some()
            && (members.first().copied() == node || members.last().copied() == node)
    }
}

/// `T.Number` and the types below it.
fn is_number(shape: Shape) -> bool {
    shape.is_token(&[TokenKind::Number, TokenKind::Hexadecimal])
}
