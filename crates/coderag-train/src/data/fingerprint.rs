use sha2::{Digest as _, Sha256};

/// 64 bits that tell texts apart: the start of the SHA-256 digest of the text with its white space
/// collapsed, so that texts that differ in white space alone are equal. Among a million texts two
/// different ones share theirs with a probability of 3e-8.
pub(crate) fn fingerprint(text: &str, collapsed: &mut String) -> u64 {
    collapsed.clear();
    for word in text.split_whitespace() {
        collapsed.push_str(word);
        collapsed.push(' ');
    }
    let digest = Sha256::digest(collapsed.as_bytes());
    digest.iter().take(8).rev().fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_makes_no_difference_and_anything_else_does() {
        let of = |text| fingerprint(text, &mut String::from("left over"));
        assert_eq!(of("def f():\n    return 1"), of(" def  f():\treturn 1\n"));
        assert_ne!(of("def f():"), of("def g():"));
        assert_ne!(of("ab"), of("a b"));
        assert_ne!(of("a"), of("A"));
        let digest = coderag_core::Digest::of("a ").to_string();
        let first: String =
            of("a").to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(digest.starts_with(&first));
    }
}
