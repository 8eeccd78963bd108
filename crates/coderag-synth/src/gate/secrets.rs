//! Secrets and personal data, replaced by what is neither.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A text without secrets and personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scrubbed {
    /// The text. Code that parsed still does: what was replaced has characters of the same kinds.
    pub(crate) text: String,
    /// What was replaced, such as `an e-mail address`, each time that it was.
    pub(crate) found: Vec<&'static str>,
}

/// Replaces secrets and personal data. What is only an example stays: documentation's addresses and
/// domains, the test numbers of cards, passwords that say they are none. A scrubbed text has nothing left
/// to replace.
pub(crate) fn scrub(text: &str) -> Scrubbed {
    /// What is replaced may uncover what was part of it; more than twice was never seen.
    const MOST_ROUNDS: usize = 8;
    let mut scrubbed = Scrubbed { text: text.to_owned(), found: Vec::new() };
    for _ in 0..MOST_ROUNDS {
        let before = scrubbed.found.len();
        RULES.iter().for_each(|rule| rule.apply(&mut scrubbed));
        if scrubbed.found.len() == before {
            break;
        }
    }
    scrubbed
}

/// What a match is, and what comes in its place.
struct Rule {
    name: &'static str,
    pattern: Option<Regex>,
    /// The replacement of a match after the text before it; `None` to leave it as it is.
    replacement: fn(&str, &Captures<'_>, &str) -> Option<String>,
}

impl Rule {
    fn apply(&self, scrubbed: &mut Scrubbed) {
        let Some(pattern) = &self.pattern else { return };
        let text = &scrubbed.text;
        let mut replaced = String::new();
        let mut copied = 0;
        for captures in pattern.captures_iter(text) {
            let Some(whole) = captures.get(0) else { continue };
            let before = text.get(..whole.start()).unwrap_or_default();
            let after = text.get(whole.end()..).unwrap_or_default();
            let Some(replacement) = (self.replacement)(before, &captures, after) else { continue };
            if replacement == whole.as_str() {
                continue;
            }
            replaced.push_str(text.get(copied..whole.start()).unwrap_or_default());
            replaced.push_str(&replacement);
            copied = whole.end();
            scrubbed.found.push(self.name);
        }
        if copied > 0 {
            replaced.push_str(text.get(copied..).unwrap_or_default());
            scrubbed.text = replaced;
        }
    }
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |name, pattern: &str, replacement| Rule {
        name,
        pattern: Regex::new(pattern).ok(),
        replacement,
    };
    vec![
        rule(
            "a private key",
            concat!(
                r"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY( BLOCK)?-----",
                r"(?:[\s\S]*?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s]{40,})",
            ),
            |_, _, _| Some("PRIVATE KEY REMOVED".to_owned()),
        ),
        // Each service's own prefix, then what is secret.
        rule(
            "an access token",
            concat!(
                r"\b(AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|[rs]k_(?:live|test)_|whsec_",
                r"|sk-(?:proj-|ant-api\d\d-)?|AIza|ya29\.|hf_|npm_|pypi-|SG\.|dop_v1_|shpat_)",
                r"([A-Za-z0-9_-][A-Za-z0-9_.-]{14,}[A-Za-z0-9_-])",
            ),
            |before, captures, _| {
                let (prefix, secret) = (group(captures, 1), group(captures, 2));
                let random = secret.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
                    && secret.bytes().filter(u8::is_ascii_alphanumeric).count() >= 16
                    && !before.ends_with(['-', '/'])
                    // Of these the rest is letters and digits alone; names of code have underscores.
                    && !(matches!(prefix, "hf_" | "npm_") && secret.contains(['_', '.', '-']));
                random.then(|| format!("{prefix}{}", zeros(secret)))
            },
        ),
        rule(
            "a JSON web token",
            r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
            |_, captures, _| Some(zeros(group(captures, 0))),
        ),
        rule(
            "a password in an address",
            r#"(\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'"`<>{}$%*]*:)([^\s/@'"`<>{}$%*]+)(@[\w\[{$%<])"#,
            |_, captures, _| {
                let password = group(captures, 2);
                let replaced = format!("{}password{}", group(captures, 1), group(captures, 3));
                (!is_example(password)).then_some(replaced)
            },
        ),
        rule(
            "a password",
            concat!(
                r"(?i)((?:passwo?r?d|passwd|pwd|passphrase|secret|secret_?key|api_?key|access_?key",
                r"|access_?token|auth_?token|bearer_?token|private_?key|client_?secret)",
                r#"["']?\s*(?::\s*&?\w+\s*=|:=|=>|=|:)\s*)(["'`])([^"'`\s\\]{8,200})(["'`])"#,
            ),
            |_, captures, _| {
                let (value, quote) = (group(captures, 3), group(captures, 2));
                let has = |kind: fn(&u8) -> bool| value.as_bytes().iter().any(kind);
                let random = has(u8::is_ascii_digit)
                    && has(u8::is_ascii_alphabetic)
                    && !value.contains(['{', '}', '<', '>', '%', '$', '(', ')', '/', '.'])
                    && quote == group(captures, 4);
                (random && !is_example(value))
                    .then(|| format!("{}{quote}changeme{quote}", group(captures, 1)))
            },
        ),
        rule(
            "an e-mail address",
            concat!(
                // A password in an address is not the name of an account.
                r#"://[^\s/@'"]*@[\w.-]+|"#,
                r"([A-Za-z0-9][A-Za-z0-9._%+-]*)@((?:[A-Za-z0-9-]+\.)+([A-Za-z]{2,}))\b",
            ),
            |before, captures, after| {
                let (account, domain) =
                    (captures.get(1)?.as_str(), group(captures, 2).to_lowercase());
                let personal = is_top_level(&group(captures, 3).to_lowercase())
                    && !is_example_domain(&domain)
                    && account != "git"
                    && !after.starts_with(['(', '['])
                    && !before.ends_with(|character: char| character.is_alphanumeric());
                personal.then(|| "user@example.com".to_owned())
            },
        ),
        rule(
            "an IBAN",
            r"\b([A-Z]{2})(\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)\b",
            |_, captures, _| {
                let number = group(captures, 2);
                is_iban(group(captures, 0))
                    .then(|| format!("{}{}", group(captures, 1), zeros(number)))
            },
        ),
        rule("the number of a card", r"\d(?:[ -]?\d){12,18}", |before, captures, after| {
            let number = group(captures, 0);
            (stands_alone(before, after) && is_card(number)).then(|| zeros(number))
        }),
        rule("a social security number", r"\d{3}-\d{2}-\d{4}", |before, captures, after| {
            let number = group(captures, 0);
            let (area, group_and_serial) = number.split_once('-')?;
            let assigned = !matches!(area, "000" | "666")
                && !area.starts_with('9')
                && !group_and_serial.starts_with("00")
                && !group_and_serial.ends_with("0000");
            (assigned && stands_alone(before, after)).then(|| zeros(number))
        }),
        rule(
            "a phone number",
            concat!(
                r"\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}",
                r"|\([2-9]\d{2}\) ?[2-9]\d{2}-\d{4}",
                r"|[2-9]\d{2}-[2-9]\d{2}-\d{4}",
            ),
            |before, captures, after| {
                let number = group(captures, 0);
                let digits: String = number.chars().filter(char::is_ascii_digit).collect();
                let international = number.starts_with('+');
                let long_enough = if international { 10..=15 } else { 10..=10 };
                // 555-0100 to 555-0199 are set aside for fiction.
                let is_fiction = digits
                    .len()
                    .checked_sub(7)
                    .and_then(|start| digits.get(start..))
                    .is_some_and(|local| local.starts_with("55501"));
                (long_enough.contains(&digits.len())
                    && stands_alone(before, after)
                    && !before.trim_end().ends_with([')', ']'])
                    && !is_fiction)
                    .then(|| zeros(number))
            },
        ),
        rule("an IP address", r"\d{1,3}(?:\.\d{1,3}){3}", |before, captures, after| {
            let address: Ipv4Addr = group(captures, 0).parse().ok()?;
            let version = follows_version(before)
                || after
                    .trim_start()
                    .get(..7)
                    .is_some_and(|word| word.eq_ignore_ascii_case("version"));
            (stands_alone(before, after) && !version && is_public_v4(address))
                .then(|| "192.0.2.1".to_owned())
        }),
        rule(
            "an IP address",
            r"[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){3,7}",
            |before, captures, after| {
                let text = group(captures, 0);
                let address: Ipv6Addr = text.parse().ok()?;
                let groups = text.split(':').filter(|group| !group.is_empty()).count();
                (groups >= 4
                    && stands_alone(before, after)
                    && !before.ends_with(':')
                    && !after.starts_with(':')
                    && is_public_v6(address))
                .then(|| "2001:db8::1".to_owned())
            },
        ),
    ]
});

fn group<'t>(captures: &Captures<'t>, number: usize) -> &'t str {
    captures.get(number).map_or("", |found| found.as_str())
}

/// The text with a zero for each letter and digit.
fn zeros(text: &str) -> String {
    text.chars().map(|letter| if letter.is_alphanumeric() { '0' } else { letter }).collect()
}

/// Whether a number is no part of a longer number, word, date or decimal.
fn stands_alone(before: &str, after: &str) -> bool {
    let joins = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-');
    let mut following = after.chars();
    let goes_on = match following.next() {
        Some('.' | ',') => following.next().is_some_and(|next| next.is_ascii_digit()),
        Some(next) => joins(next),
        None => false,
    };
    let mut preceding = before.chars().rev();
    let comes_from = match preceding.next() {
        Some('.' | ',') => preceding.next().is_some_and(|last| last.is_ascii_digit()),
        Some('+') => true,
        Some(last) => joins(last),
        None => false,
    };
    !goes_on && !comes_from
}

/// Whether a password says that it is none, or is the name of what holds it.
fn is_example(value: &str) -> bool {
    const WORDS: [&str; 14] = [
        "password",
        "passwd",
        "passw0rd",
        "secret",
        "example",
        "changeme",
        "change_me",
        "dummy",
        "your",
        "placeholder",
        "test",
        "token",
        "xxx",
        "foobar",
    ];
    let lower = value.to_lowercase();
    let mut characters = value.chars();
    let first = characters.next();
    WORDS.iter().any(|word| lower.contains(word))
        || matches!(lower.as_str(), "pass" | "pwd" | "pw" | "user" | "root" | "admin" | "guest")
        || characters.all(|character| Some(character) == first)
}

/// Whether the text before a number of four parts says that it is a version.
fn follows_version(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default().to_lowercase();
    let near = line.get(line.floor_char_boundary(line.len().saturating_sub(24))..);
    let near = near.unwrap_or_default();
    let product = near.ends_with('/') && !near.ends_with("//");
    product
        || ["version", "ver.", "release", "build", "==", ">=", "<=", "~=", "^", "oid"]
            .iter()
            .any(|word| near.contains(word))
        || near.ends_with('v')
}

/// Domains that RFC 2606 and RFC 6761 set aside.
fn is_example_domain(domain: &str) -> bool {
    let second_level = ["example.com", "example.org", "example.net"];
    let top_level = [".example", ".test", ".invalid", ".localhost", ".local"];
    second_level.iter().any(|name| domain == *name || domain.ends_with(&format!(".{name}")))
        || top_level.iter().any(|end| domain.ends_with(end))
}

/// Top-level domains that mail goes to; other endings are attributes and files in code.
fn is_top_level(name: &str) -> bool {
    const COUNTRIES: &str = "ac ad ae af ag ai al am ao aq ar at au aw ax az ba bb bd be bf bg bh bi bj bm \
        bn bo br bs bt bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz \
        ec ee eg er es et eu fi fj fk fm fo fr ga gd ge gf gg gh gi gl gm gn gp gq gr gt gu gw gy hk hm hn \
        hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk \
        lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng \
        ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se \
        sg sh si sk sl sm sn so sr st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug \
        uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw";
    const GENERIC: &str = "com net org edu gov mil int biz name pro info app dev cloud tech online site \
        email company agency blog shop xyz";
    COUNTRIES.split(' ').chain(GENERIC.split(' ')).any(|known| known == name)
}

/// Luhn's check on a number that an issuer of cards gives, none of the well-known test numbers.
fn is_card(number: &str) -> bool {
    const TESTS: [&str; 8] = [
        "4111111111111111",
        "4242424242424242",
        "4012888888881881",
        "5555555555554444",
        "5105105105105100",
        "378282246310005",
        "371449635398431",
        "6011111111111117",
    ];
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let start = |length: usize| digits.get(..length).and_then(|start| start.parse::<u32>().ok());
    let issued = matches!(
        (digits.len(), start(4).unwrap_or(0)),
        (13 | 16 | 19, 4000..=4999)
            | (16, 5100..=5599 | 2221..=2720 | 6011 | 6500..=6599)
            | (15, 3400..=3499 | 3700..=3799)
    );
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (u32::from(digit - b'0'), place % 2) {
            (digit, 0) => digit,
            (digit, _) => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    issued && sum.is_multiple_of(10) && !TESTS.contains(&digits.as_str())
}

/// ISO 13616: a country's length, and 1 modulo 97.
fn is_iban(text: &str) -> bool {
    const LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 \
        DK18 DO28 EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 \
        IS26 IT27 JO30 KW30 KZ20 LB28 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MT31 MU30 NL18 NO15 PK24 \
        PL28 PS29 PT25 QA29 RO24 RS22 SA24 SE24 SI19 SK24 SM27 TN24 TR26 UA29 VA22 XK20";
    let number: String = text.chars().filter(|character| *character != ' ').collect();
    let (Some(country), Some(rest)) = (number.get(..2), number.get(4..)) else { return false };
    if !LENGTHS.split(' ').any(|known| known == format!("{country}{}", number.len())) {
        return false;
    }
    let rearranged = rest.chars().chain(number.chars().take(4));
    let remainder = rearranged
        .filter_map(|character| character.to_digit(36))
        .fold(0, |all, value| (all * if value < 10 { 10 } else { 100 } + value) % 97);
    // The check digits of a real one are 02 to 98.
    remainder == 1 && number.get(2..4).is_some_and(|digits| digits != "00")
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const RESOLVERS: [Ipv4Addr; 5] = [
        Ipv4Addr::new(1, 1, 1, 1),
        Ipv4Addr::new(1, 0, 0, 1),
        Ipv4Addr::new(8, 8, 8, 8),
        Ipv4Addr::new(8, 8, 4, 4),
        Ipv4Addr::new(9, 9, 9, 9),
    ];
    let [first, second, third, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || first == 0
        // Multicast, reserved and broadcast.
        || first >= 224
        || (first == 100 && (64..128).contains(&second))
        || (first == 198 && (18..20).contains(&second))
        || (first, second, third) == (192, 0, 0)
        // Masks and sections such as 1.2.3.4 are no addresses of anybody.
        || address.octets().iter().all(|octet| *octet < 10)
        || RESOLVERS.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    (0x2000..0x4000).contains(&first)
        && (first, second) != (0x2001, 0x0db8)
        && !(first == 0x3fff && second < 0x1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::CodeLanguage;
    use crate::gate::syntax;

    /// Made up here; no part of it was ever a secret.
    const RANDOM: &str = "a8Fk2Lq9ZxP4mT7vB1nC6dR3sW5yH0jG";

    #[test]
    fn every_pattern_compiles() {
        assert!(RULES.iter().all(|rule| rule.pattern.is_some()));
    }

    #[test]
    fn secrets_and_personal_data_are_replaced_by_the_like() {
        let jwt = format!("eyJ{RANDOM}.eyJ{RANDOM}.{RANDOM}");
        let zero = |text: &str| "0".repeat(text.len());
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----";
        for (text, expected, name) in [
            (key.to_owned(), "PRIVATE KEY REMOVED".to_owned(), "a private key"),
            (
                format!("\"ghp_{RANDOM}abcd\""),
                format!("\"ghp_{}\"", zero(&format!("{RANDOM}abcd"))),
                "an access token",
            ),
            (
                "AKIAQ2W3E4R5T6Y7U8I9".to_owned(),
                "AKIA0000000000000000".to_owned(),
                "an access token",
            ),
            (format!("sk-proj-{RANDOM}"), format!("sk-proj-{}", zero(RANDOM)), "an access token"),
            (
                format!("x = 'sk_live_{RANDOM}'"),
                format!("x = 'sk_live_{}'", zero(RANDOM)),
                "an access token",
            ),
            (
                format!("xoxb-1234-{RANDOM}"),
                format!("xoxb-0000-{}", zero(RANDOM)),
                "an access token",
            ),
            (jwt.clone(), zeros(&jwt), "a JSON web token"),
            (
                "postgres://ann:h7unter@db.corp.com/x".to_owned(),
                "postgres://ann:password@db.corp.com/x".to_owned(),
                "a password in an address",
            ),
            (
                "PASSWORD = \"hunter2hunter\"".to_owned(),
                "PASSWORD = \"changeme\"".to_owned(),
                "a password",
            ),
            (
                "{'api_key': 'q8w7e6r5t4'}".to_owned(),
                "{'api_key': 'changeme'}".to_owned(),
                "a password",
            ),
            (
                "mail ann.lee@corp.co.uk now".to_owned(),
                "mail user@example.com now".to_owned(),
                "an e-mail address",
            ),
            (
                "GB82 WEST 1234 5698 7654 32".to_owned(),
                "GB00 0000 0000 0000 0000 00".to_owned(),
                "an IBAN",
            ),
            (
                "card 4539 1488 0343 6467.".to_owned(),
                "card 0000 0000 0000 0000.".to_owned(),
                "the number of a card",
            ),
            (
                "ssn: 536-22-8726".to_owned(),
                "ssn: 000-00-0000".to_owned(),
                "a social security number",
            ),
            (
                "call +49 30 901820 45".to_owned(),
                "call +00 00 000000 00".to_owned(),
                "a phone number",
            ),
            ("call (212) 736-5000".to_owned(), "call (000) 000-0000".to_owned(), "a phone number"),
            ("ping 93.184.216.34".to_owned(), "ping 192.0.2.1".to_owned(), "an IP address"),
            (
                "http://93.184.216.34:80/".to_owned(),
                "http://192.0.2.1:80/".to_owned(),
                "an IP address",
            ),
            (
                "2606:2800:220:1:248:1893:25c8:1946".to_owned(),
                "2001:db8::1".to_owned(),
                "an IP address",
            ),
        ] {
            let scrubbed = scrub(&text);
            assert_eq!(
                (scrubbed.text.as_str(), scrubbed.found),
                (expected.as_str(), vec![name]),
                "{text}"
            );
        }
    }

    #[test]
    fn what_only_looks_alike_stays() {
        for text in [
            "user@example.com and x@mail.example.org and a@b.test",
            "git@github.com:a/b.git",
            "y = a@b.T + w@x.mean()",
            "lodash@4.17.21",
            "@app.route('/x')",
            "127.0.0.1 10.1.2.3 192.168.0.1 172.16.5.5 192.0.2.7 255.255.255.0 8.8.8.8 0.0.0.0",
            "version = '91.12.200.7'",
            "Chrome/91.12.200.7 Safari",
            "pip install a==91.12.200.7",
            "the carrier of 91.12.200.7 version",
            "hf_select_quant_linear_v2(model)",
            "1.2.3.4",
            "1.3.6.1.4.1.311",
            "::1 fe80::1 2001:db8::5 12:30:45 x[2000::2] std::vec::Vec a::b::c",
            "550e8400-e29b-41d4-a716-446655440000",
            "d41d8cd98f00b204e9800998ecf8427e da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "0xDEADBEEFCAFEBABE 0x4539148803436467",
            "2024-01-15T10:20:30 1609459200000 1609459200000000",
            "3.14159265358979323846 2.718281828459045235",
            "4111 1111 1111 1111",
            "pi = 4539148803436467.5",
            "password = 'your-password-1' ; pwd = '********' ; secret = '${SECRET_1}'",
            "password = get_password1(user)",
            "postgres://user:password@localhost/db",
            "https://{user}:{password}@host",
            "sk-toggleable__label-arrow-and-more",
            "call 555-555-0123 or 212-555-0199",
            "x = a +15551234567890123456",
            "SELECT 536-22-87 FROM t",
            "DE44ABC",
        ] {
            assert_eq!(scrub(text), Scrubbed { text: text.to_owned(), found: Vec::new() });
        }
    }

    #[test]
    fn code_still_parses() {
        let code = format!(
            "KEY = '''-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----'''\n\
             TOKEN = b\"ghp_{RANDOM}abcd\"\nHOSTS = ['93.184.216.34', \"ann@corp.com\"]\n\
             CARD = 4539148803436467\nurl = f'ftp://ann:x7y8z9@{{host}}'\npassword: str = 'hunter2hunter'\n"
        );
        let scrubbed = scrub(&code);
        assert_eq!(scrubbed.found.len(), 7, "{scrubbed:?}");
        assert_eq!(syntax::check(CodeLanguage::Python, &scrubbed.text), Ok(()));
    }

    proptest! {
        #[test]
        fn a_scrubbed_text_has_nothing_left(
            pieces in proptest::collection::vec(
                prop_oneof![
                    prop::sample::select(vec![
                        "ann@corp.com", "93.184.216.34", "4539148803436467", "536-22-8726", "://", ":",
                        "@", "password='", "hunter2hunter", "'", " ", "+49 30 90182045", "GB82WEST",
                        "12345698765432", "sk-", "AKIA", "Q2W3E4R5T6Y7U8I9", "eyJ", ".", "-", "http",
                        "2606:2800:220:1:248:1893:25c8:1946", "-----BEGIN PRIVATE KEY-----", "\n",
                        "-----END PRIVATE KEY-----", "(212) 736-5000", "abcdefgh12345678",
                    ]).prop_map(str::to_owned),
                    "[a-z0-9.@:/+ -]{0,12}",
                    "(?s).{0,6}",
                ],
                0..12,
            ),
        ) {
            let once = scrub(&pieces.concat());
            let twice = scrub(&once.text);
            prop_assert_eq!(&twice.text, &once.text);
            prop_assert!(twice.found.is_empty(), "{:?}", twice.found);
        }
    }
}
