//! Examples to train on, and the batches they come in.
