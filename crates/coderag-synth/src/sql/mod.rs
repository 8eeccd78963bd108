//! Databases made from schemas, and what SQL does on them.
