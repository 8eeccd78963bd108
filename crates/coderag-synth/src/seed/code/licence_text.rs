//! The licence of a text, by the sentences that only that licence has.

/// A licence and what its text holds, in lowercase words with one space between them, and what it lacks.
struct Characteristic {
    licence: &'static str,
    has: &'static [&'static str],
    lacks: &'static [&'static str],
}

const fn text(
    licence: &'static str,
    has: &'static [&'static str],
    lacks: &'static [&'static str],
) -> Characteristic {
    Characteristic { licence, has, lacks }
}

const MIT_GRANT: &str = "permission is hereby granted free of charge to any person obtaining a copy \
    of this software and associated documentation files";
const MIT_CONDITION: &str = "the above copyright notice and this permission notice";
const X11_CONDITION: &str = "except as contained in this notice the name";
const BSD_GRANT: &str = "redistribution and use in source and binary forms with or without \
    modification are permitted";
const BSD_SECOND: &str = "redistributions in binary form must reproduce the above copyright";
const BSD_THIRD: &str =
    "to endorse or promote products derived from this software without specific";
const BSD_FOURTH: &str = "all advertising materials mentioning features or use";
const BSD_CLEAR: &str = "no express or implied licenses to any party s patent rights";
const ISC_GRANT: &str =
    "distribute this software for any purpose with or without fee is hereby granted";
const ISC_CONDITION: &str = "hereby granted provided that the above copyright notice";
const ZLIB_CONDITION: &str = "altered source versions must be plainly marked as such";

/// Sentences from the texts at <https://spdx.org/licenses/>.
const CHARACTERISTICS: [Characteristic; 23] = [
    text("MIT", &[MIT_GRANT, MIT_CONDITION], &[X11_CONDITION]),
    text("MIT-0", &[MIT_GRANT], &[MIT_CONDITION]),
    text("X11", &[MIT_GRANT, MIT_CONDITION, X11_CONDITION], &[]),
    text("Apache-2.0", &["apache license version 2 0 january 2004"], &[]),
    text("Apache-2.0", &["licensed under the apache license version 2 0"], &[]),
    text("BSD-4-Clause", &[BSD_GRANT, BSD_SECOND, BSD_FOURTH], &[]),
    text("BSD-3-Clause", &[BSD_GRANT, BSD_SECOND, BSD_THIRD], &[BSD_FOURTH, BSD_CLEAR]),
    text("BSD-3-Clause-Clear", &[BSD_GRANT, BSD_SECOND, BSD_THIRD, BSD_CLEAR], &[]),
    text("BSD-2-Clause", &[BSD_GRANT, BSD_SECOND], &[BSD_THIRD, BSD_FOURTH]),
    text("ISC", &[ISC_GRANT, ISC_CONDITION], &[]),
    text("0BSD", &[ISC_GRANT], &[ISC_CONDITION]),
    text("MPL-2.0", &["mozilla public license version 2 0"], &[]),
    text("MPL-2.0", &["subject to the terms of the mozilla public license v 2 0"], &[]),
    text(
        "Unlicense",
        &["this is free and unencumbered software released into the public domain"],
        &[],
    ),
    text("CC0-1.0", &["cc0 1 0 universal"], &[]),
    text("Zlib", &[ZLIB_CONDITION], &[]),
    text("BSL-1.0", &["boost software license version 1 0"], &[]),
    text("PSF-2.0", &["python software foundation license version 2"], &[]),
    text("GPL-3.0-only", &["gnu general public license version 3 29 june 2007"], &[]),
    text("GPL-2.0-only", &["gnu general public license version 2 june 1991"], &[]),
    text("GPL-2.0-only", &["under the terms of the gnu general public license"], &[]),
    text(
        "LGPL-2.1-only",
        &["gnu lesser general public license"],
        &[
            // Named by the MPL as a secondary licence, by the GPL in its last paragraph.
            "mozilla public license version 2 0",
            "gnu general public license version 3 29 june 2007",
            "gnu general public license version 2 june 1991",
        ],
    ),
    text(
        "AGPL-3.0-only",
        &["gnu affero general public license"],
        &[
            "mozilla public license version 2 0",
            "gnu general public license version 3 29 june 2007",
        ],
    ),
];

/// Words of terms that take back what a known licence gives.
const RESTRICTIONS: [&str; 3] = ["commons clause", "non commercial", "business source license"];

/// The licences whose sentences a text has, as one SPDX expression that asks for all of them; `None` for a
/// text with none of them, or with terms on top that restrict it.
pub(super) fn recognise(text: &str) -> Option<String> {
    let words = text.split(|character: char| !character.is_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let text = words.join(" ").to_lowercase();
    if RESTRICTIONS.iter().any(|words| text.contains(words)) {
        return None;
    }
    let mut licences: Vec<&str> = Vec::new();
    for Characteristic { licence, has, lacks } in &CHARACTERISTICS {
        if has.iter().all(|sentence| text.contains(sentence))
            && !lacks.iter().any(|sentence| text.contains(sentence))
            && !licences.contains(licence)
        {
            licences.push(licence);
        }
    }
    (!licences.is_empty()).then(|| licences.join(" AND "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each characteristic alone is recognised, and by no other.
    #[test]
    fn every_characteristic_is_told_from_the_others() {
        for Characteristic { licence, has, .. } in &CHARACTERISTICS {
            let text = has.join("; and. ").to_uppercase();
            assert_eq!(recognise(&text).as_deref(), Some(*licence), "{has:?}");
        }
    }

    #[test]
    fn texts_of_several_licences_ask_for_all() {
        let text =
            format!("{MIT_GRANT}, {MIT_CONDITION}.\n\nApache License\nVersion 2.0, January 2004");
        assert_eq!(recognise(&text).as_deref(), Some("MIT AND Apache-2.0"));
    }

    #[test]
    fn line_breaks_comment_marks_and_quotes_do_not_matter() {
        let text =
            "# This is free and unencumbered\n# software released into the \"public domain\".";
        assert_eq!(recognise(text).as_deref(), Some("Unlicense"));
    }

    #[test]
    fn other_texts_and_restricted_ones_are_not_recognised() {
        for text in ["", "All rights reserved.", "See the licence."] {
            assert_eq!(recognise(text), None, "{text}");
        }
        let text = format!("\"Commons Clause\" License\n{MIT_GRANT} {MIT_CONDITION}");
        assert_eq!(recognise(&text), None);
    }

    /// The licences that this project itself is under.
    #[test]
    fn the_texts_of_this_project_are_recognised() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (file, licence) in [("LICENSE-MIT", "MIT"), ("LICENSE-APACHE", "Apache-2.0")] {
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            assert_eq!(recognise(&text).as_deref(), Some(licence));
        }
    }
}
