/// Why two results could not be compared.
///
/// The official runner counts a question whose comparison raises an exception as neither exact nor
/// correct. With [`Compatibility::Sensible`](crate::Compatibility::Sensible) only [`NoColumns`](Self::NoColumns),
/// [`RaggedRow`](Self::RaggedRow), [`Gold`](Self::Gold) and [`Alternatives`](Self::Alternatives)
/// occur.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComparisonError {
    /// A statement that returns no table, such as an UPDATE; `TypeError` in the official script.
    #[error("a statement returned no columns; only a query's result can be compared")]
    NoColumns,

    /// A row that does not belong to its table.
    #[error("row {row} has {values} values but the table has {columns} columns")]
    RaggedRow {
        /// The row, counted from 1.
        row: usize,
        /// The values in it.
        values: usize,
        /// The columns of the table.
        columns: usize,
    },

    /// A name that stands for several columns where pandas needs one; a `ValueError`, `TypeError`
    /// or `KeyError` in the official script.
    #[error("pandas cannot sort or select by `{name}`, which names several columns or none")]
    AmbiguousColumn {
        /// The name.
        name: String,
    },

    /// Values that Python cannot put in order; a `TypeError` in the official script.
    #[error("pandas cannot sort the column `{name}`, which mixes numbers, text or blobs")]
    UnsortableColumn {
        /// The column.
        name: String,
    },

    /// The official script's -99999 for NULL, in a column of text; a `TypeError` there.
    #[error("pandas cannot put a number for the NULL in the column of text `{name}`")]
    NullInText {
        /// The column.
        name: String,
    },

    /// One of the gold queries failed.
    #[error("the gold query failed: {query}")]
    Gold {
        /// The query, one of the alternatives.
        query: String,
        /// What the executor said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The gold queries could not be made out.
    #[error(transparent)]
    Alternatives(#[from] crate::Error),
}
