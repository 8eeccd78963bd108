use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::judgements::Judgements;
use super::ranking::Ranking;

/// Which documents count as one because their texts are the same.
///
/// A searcher cannot tell such documents apart, so a metric that does measures luck. Each group is
/// known by the id of its first document; a document that was never given is a group of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentGroups {
    /// The first document of the group, for all others of it.
    first: HashMap<String, String>,
}

impl DocumentGroups {
    /// Groups documents by their text or by anything that stands for it, such as its digest. An id that
    /// is given again keeps its first text.
    pub fn new<K: Eq + Hash>(documents: impl IntoIterator<Item = (String, K)>) -> Self {
        let mut ids = HashSet::new();
        let mut groups: HashMap<K, String> = HashMap::new();
        let mut first = HashMap::new();
        for (id, text) in documents {
            if !ids.insert(id.clone()) {
                continue;
            }
            match groups.get(&text) {
                Some(group) => {
                    first.insert(id, group.clone());
                }
                None => {
                    groups.insert(text, id);
                }
            }
        }
        Self { first }
    }

    /// The id by which a document's group is known.
    pub fn group_of<'a>(&'a self, document: &'a str) -> &'a str {
        self.first.get(document).map_or(document, String::as_str)
    }

    /// The ranking of groups: each stands where its best-placed document stood.
    pub fn rank(&self, ranking: &Ranking) -> Ranking {
        ranking.renamed(|document| self.group_of(document))
    }

    /// The judgements of groups: each has the highest relevance among its judged documents.
    pub fn judge(&self, judgements: &Judgements) -> Judgements {
        let mut judged = Judgements::default();
        for (query, documents) in judgements.iter() {
            for (document, &relevance) in documents {
                let group = self.group_of(document);
                let before = judged.of(query).and_then(|groups| groups.get(group));
                let highest = before.map_or(relevance, |&before| before.max(relevance));
                judged.insert(query, group, highest);
            }
        }
        judged
    }
}
