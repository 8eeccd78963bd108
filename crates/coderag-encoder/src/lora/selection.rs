use std::collections::BTreeSet;

use regex::Regex;

use super::pattern::ModulePattern;

/// Whether a layer multiplies a matrix or looks up its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerKind {
    /// A linear layer; its weight is `[outputs, inputs]` in a checkpoint.
    Linear,
    /// A table of embeddings; its weight is `[inputs, outputs]`, one row for each token.
    Embedding,
}

/// A choice of modules by their names.
#[derive(Clone, Debug, PartialEq)]
pub enum ModuleSelection {
    /// Every linear layer: PEFT's `all-linear`.
    AllLinear,
    /// Modules whose path is one of these or ends with one of these after a dot.
    Names(Vec<String>),
    /// Modules whose whole path matches.
    Pattern(ModulePattern),
}

impl ModuleSelection {
    /// Modules by the ends of their paths, such as `query` or `attention.output.dense`.
    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::Names(names.into_iter().map(Into::into).collect())
    }

    /// These modules and none of the others, by the shortest ends of their paths that tell them apart.
    pub(super) fn exactly(chosen: &[&str], others: &[&str]) -> Self {
        let is_end = |end: &str, module: &str| {
            module
                .strip_suffix(end)
                .is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let shortest = |module: &str| {
            let ends = module.rmatch_indices('.').map(|(dot, _)| &module[dot + 1..]);
            let end = { ends }.find(|end| !others.iter().any(|other| is_end(end, other)));
            end.unwrap_or(module).to_owned()
        };
        let ends: BTreeSet<String> = chosen.iter().map(|module| shortest(module)).collect();
        Self::Names(ends.into_iter().collect())
    }

    /// Whether a module is chosen: PEFT's `check_target_module_exists`.
    pub fn contains(&self, module: &str, kind: LayerKind) -> bool {
        match self {
            Self::AllLinear => kind == LayerKind::Linear,
            Self::Names(names) => names.iter().any(|name| {
                module
                    .strip_suffix(name.as_str())
                    .is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }),
            Self::Pattern(pattern) => pattern.matches(module),
        }
    }

    /// Whether a module's whole path is one of the names.
    pub(super) fn names_whole(&self, module: &str) -> bool {
        matches!(self, Self::Names(names) if names.iter().any(|name| name == module))
    }
}

/// Which of a model's blocks get LoRA: PEFT's `layers_to_transform` and `layers_pattern`.
#[derive(Clone, Debug)]
pub struct BlockSelection {
    indices: Vec<usize>,
    lists: Vec<String>,
    /// Each finds the index of the block in a module's path.
    patterns: Vec<Regex>,
}

impl BlockSelection {
    /// The blocks at these indices, of the module lists that match one of the expressions in `lists`, such
    /// as `layers`; of any list when there are none.
    ///
    /// # Errors
    /// The reason why an expression cannot be used.
    pub fn new(indices: Vec<usize>, lists: Vec<String>) -> Result<Self, String> {
        // The expressions of PEFT's `check_target_module_exists`, with its quirk that without a name the
        // list must stand inside another module.
        let sources = if lists.is_empty() {
            vec![r"\A.*?\.[^.]*\.(?P<index>\d+)\.".to_owned()]
        } else {
            let named = |list: &String| format!(r"\A(?:.*?\.)?(?:{list})\.(?P<index>\d+)\.");
            lists.iter().map(named).collect()
        };
        let compile = |source: &String| {
            Regex::new(source).map_err(|error| {
                format!("layers_pattern cannot be used as a regular expression: {error}")
            })
        };
        let patterns = sources.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { indices, lists, patterns })
    }

    /// Whether a module is part of a chosen block.
    pub fn contains(&self, module: &str) -> bool {
        let found = self.patterns.iter().find_map(|pattern| pattern.captures(module));
        let index = found.and_then(|found| found.name("index")?.as_str().parse::<usize>().ok());
        index.is_some_and(|index| self.indices.contains(&index))
    }

    /// The indices of the chosen blocks.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// The expressions for the names of module lists.
    pub fn lists(&self) -> &[String] {
        &self.lists
    }
}

impl PartialEq for BlockSelection {
    fn eq(&self, other: &Self) -> bool {
        self.indices == other.indices && self.lists == other.lists
    }
}
