//! What a pair must pass before it is kept.
