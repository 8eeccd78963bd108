//! Licence expressions, and which of them may be used.

use std::collections::BTreeSet;

use spdx::{Expression, LicenseItem, ParseMode};

/// The licences that may be used.
pub(super) struct Allowed(BTreeSet<&'static str>);

impl Allowed {
    /// The licences of SPDX identifiers, or the first name that is none.
    pub(super) fn new(names: &[String]) -> Result<Self, &str> {
        let id = |name| spdx::license_id(name).map(|licence| licence.name).ok_or(name);
        names.iter().map(|name| id(name.as_str())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether code under this expression may be used. An exception (`WITH`) only grants more.
    pub(super) fn permits(&self, expression: &Expression) -> bool {
        expression.evaluate(|requirement| match &requirement.license {
            LicenseItem::Spdx { id, .. } => self.0.contains(id.name),
            _ => false,
        })
    }
}

/// The expression that a manifest or a header states: SPDX's, also with a slash for `OR` as crates.io took
/// it, or a name that is commonly written in its place. `BSD` alone says nothing.
pub(super) fn expression(stated: &str) -> Option<Expression> {
    const MODE: ParseMode = ParseMode {
        allow_slash_as_or_operator: false,
        allow_imprecise_license_names: false,
        allow_postfix_plus_on_gpl: true,
        allow_deprecated: true,
        allow_unknown: false,
    };
    // What is stated becomes a part of the data, so it is written in one way.
    let stated = stated.replace('/', " OR ").split_whitespace().collect::<Vec<_>>().join(" ");
    Expression::parse_mode(&stated, MODE)
        .ok()
        .or_else(|| Expression::parse_mode(common_name(&stated)?, MODE).ok())
}

/// The SPDX identifier of a licence's usual name, such as Python's classifiers have.
fn common_name(name: &str) -> Option<&'static str> {
    let words: Vec<String> = name
        .split(|character: char| !character.is_alphanumeric() && character != '.')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .filter(|word| !matches!(word.as_str(), "the" | "license" | "licence" | "version"))
        .collect();
    Some(match words.join(" ").as_str() {
        "mit" | "expat" | "mit expat" => "MIT",
        "apache 2.0"
        | "apache 2"
        | "apache v2"
        | "apache v2.0"
        | "apache2"
        | "apache2.0"
        | "apache software 2.0"
        | "apache software" => "Apache-2.0",
        "bsd 3 clause" | "3 clause bsd" | "new bsd" | "modified bsd" | "bsd 3" | "revised bsd" => {
            "BSD-3-Clause"
        }
        "bsd 2 clause" | "2 clause bsd" | "simplified bsd" | "bsd 2" | "freebsd" => "BSD-2-Clause",
        "isc" | "iscl" | "isc iscl" => "ISC",
        "unlicense" | "unlicense unlicense" => "Unlicense",
        "cc0" | "cc0 1.0" | "cc0 1.0 universal cc0 1.0 public domain dedication" => "CC0-1.0",
        "zlib" | "zlib libpng" => "Zlib",
        "boost software 1.0 bsl 1.0" | "boost software 1.0" => "BSL-1.0",
        "python software foundation" | "psf" | "psf 2.0" | "psfl" => "PSF-2.0",
        "mozilla public 2.0 mpl 2.0" | "mpl 2.0" => "MPL-2.0",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(stated: &str) -> Option<bool> {
        let names = ["MIT", "Apache-2.0", "ISC"].map(str::to_owned);
        let allowed = Allowed::new(&names).ok().unwrap();
        expression(stated).map(|expression| allowed.permits(&expression))
    }

    #[test]
    fn one_alternative_is_enough_and_all_parts_are_needed() {
        for (stated, expected) in [
            ("MIT", Some(true)),
            ("MIT OR GPL-3.0-only", Some(true)),
            ("GPL-3.0+ OR MIT", Some(true)),
            ("MIT/Apache-2.0", Some(true)),
            ("MIT AND ISC", Some(true)),
            ("MIT AND GPL-3.0-only", Some(false)),
            ("(MIT OR GPL-2.0) AND MPL-2.0", Some(false)),
            ("(MIT OR GPL-2.0-only) AND (MPL-2.0 OR ISC)", Some(true)),
            ("Apache-2.0 WITH LLVM-exception", Some(true)),
            ("GPL-3.0-only WITH GCC-exception-3.1", Some(false)),
            ("LicenseRef-Proprietary", Some(false)),
            ("MIT License", Some(true)),
            ("The MIT License (MIT)", None),
            ("Apache License, Version 2.0", Some(true)),
            ("Apache Software License", Some(true)),
            ("ISC License (ISCL)", Some(true)),
            ("BSD 3-Clause", Some(false)),
            ("BSD", None),
            ("BSD License", None),
            ("GNU General Public License v3 (GPLv3)", None),
            ("UNLICENSED", None),
            ("SEE LICENSE IN LICENSE.md", None),
            ("", None),
        ] {
            assert_eq!(permits(stated), expected, "{stated}");
        }
    }

    #[test]
    fn a_licence_that_is_not_listed_is_named() {
        let names = ["MIT", "Apache 2"].map(str::to_owned);
        assert_eq!(Allowed::new(&names).err(), Some("Apache 2"));
    }
}
