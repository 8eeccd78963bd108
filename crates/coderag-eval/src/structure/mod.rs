//! placeholder
#[derive(Default, Clone, Debug)]
pub struct SchemaColumns;
impl SchemaColumns {
    pub fn new(_: Vec<(String, Vec<String>)>) -> Self {
        Self
    }
}
#[derive(Default, Clone, Copy, Debug)]
pub struct NormalizeOptions;
pub fn structural_match(
    _: &str,
    _: &str,
    _: &SchemaColumns,
    _: NormalizeOptions,
) -> Result<bool, crate::Error> {
    Ok(false)
}
