//! Metrics of rankings against relevance judgements, as trec_eval computes them.
//!
//! The reference is pytrec_eval-terrier 0.5.11, the Python binding of trec_eval 9.0.8 (Buckley,
//! Voorhees). Its rules, which this module follows:
//!
//! - A ranking is ordered by score, highest first, and among equal scores by document id, highest
//!   first, compared byte by byte. Scores are single precision: what differs only beyond that is a
//!   tie. The order in which documents were given has no say.
//! - A document is relevant when its judged relevance is at least 1. Unjudged documents, those judged
//!   0 and those judged below 0 all count as not relevant.
//! - A ranking shorter than a cutoff counts as filled up with documents that are not relevant.
//! - A query is evaluated when it has both a ranking, be it empty, and a judgement. Without a relevant
//!   document its metrics are all 0, and they count in the means. Other queries are left out, and
//!   [`RetrievalMetrics`] says how many.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::num::NonZeroUsize;
//! use coderag_eval::retrieval::{Judgements, Ranking, ScoredDocument, evaluate};
//!
//! let mut judgements = Judgements::default();
//! judgements.insert("q1", "singer", 1);
//! let documents = [("concert", 0.9), ("singer", 0.8)]
//!     .map(|(id, score)| ScoredDocument { id: id.to_owned(), score });
//! let rankings = BTreeMap::from([("q1".to_owned(), Ranking::new(documents))]);
//! let metrics = evaluate(&judgements, &rankings, &[NonZeroUsize::MIN]);
//! assert_eq!((metrics.mean.mrr, metrics.mean.at[0].recall), (0.5, 0.0));
//! ```

mod groups;
mod judgements;
mod lines;
mod metrics;
mod ranking;

pub use self::groups::DocumentGroups;
pub use self::judgements::Judgements;
pub use self::metrics::{MetricsAtCutoff, RankingMetrics, RetrievalMetrics, evaluate};
pub use self::ranking::{Ranking, ScoredDocument, read_run};
