//! What the tasks start from.
