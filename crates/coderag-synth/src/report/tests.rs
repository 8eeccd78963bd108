use roxmltree::{Document, Node, ParsingOptions};

use super::html::html;
use super::survey::Survey;
use crate::output::Manifest;
use crate::testing::{HOSTILE, SmallRun};

fn page(run: &SmallRun, manifest: &Manifest) -> String {
    html(manifest, &Survey::read(run.path(), manifest).unwrap())
}

fn parse(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).unwrap()
}

fn section<'d>(document: &'d Document<'_>, id: &str) -> Node<'d, 'd> {
    document.descendants().find(|node| node.attribute("id") == Some(id)).unwrap()
}

fn text(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|node| node.text()).collect()
}

/// The cells of a table with this label, row by row.
fn table(document: &Document<'_>, label: &str) -> Vec<Vec<String>> {
    let region = document.descendants().find(|node| node.attribute("aria-label") == Some(label));
    let rows = region.unwrap().descendants().filter(|node| node.has_tag_name("tr"));
    rows.map(|row| row.children().filter(Node::is_element).map(text).collect()).collect()
}

#[test]
fn the_page_is_well_formed_and_shows_rows_as_they_are() {
    let run = SmallRun::new();
    let page = page(&run, &run.manifest);
    let document = parse(&page);
    assert_eq!(page.matches("<script>").count(), 1, "the page's own");
    assert!(!page.contains('\u{1b}'));
    let names = ["b", "i", "img", "iframe", "object", "link", "a"];
    let elements = document.descendants().filter(Node::is_element);
    for element in elements.filter(|node| names.contains(&node.tag_name().name())) {
        // The links of the contents.
        assert!(element.attribute("href").unwrap().starts_with('#'), "{element:?}");
    }
    let shown = HOSTILE.replace('\u{1b}', "\u{241b}");
    for id in ["accepted", "rejected", "reasons"] {
        assert!(text(section(&document, id)).contains(&shown), "{id}");
    }
    assert!(text(section(&document, "accepted")).contains("return a < "));
}

#[test]
fn every_section_and_table_has_a_name() {
    let run = SmallRun::new();
    let page = page(&run, &run.manifest);
    let document = parse(&page);
    let mut ids: Vec<&str> =
        document.descendants().filter_map(|node| node.attribute("id")).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id occurs twice");
    for table in document.descendants().filter(|node| node.has_tag_name("table")) {
        let region = table.parent().unwrap();
        assert!(region.attribute("aria-label").is_some_and(|label| !label.is_empty()));
        assert_eq!(
            (region.attribute("role"), region.attribute("tabindex")),
            (Some("region"), Some("0"))
        );
        let columns =
            table.descendants().filter(|node| node.attribute("scope") == Some("col")).count();
        for row in table.descendants().filter(|node| node.has_tag_name("tr")) {
            assert_eq!(row.children().filter(Node::is_element).count(), columns);
        }
    }
}

#[test]
fn the_figures_are_the_manifests() {
    let run = SmallRun::new();
    let manifest = &run.manifest;
    let page = page(&run, manifest);
    let document = parse(&page);
    let figures: Vec<String> = document
        .descendants()
        .filter(|node| node.attribute("class") == Some("figure"))
        .map(text)
        .collect();
    // 13 rows of 22 candidates, 2 of them not answered, in a minute.
    assert_eq!(figures, ["13", "22", "65.0%", "780", "54,690", "0.04"]);
    assert_eq!(manifest.accepted(), 13);

    let gates = table(&document, "Yield by gate");
    let gates: Vec<String> = gates.iter().map(|row| row[..5].join(" | ")).collect();
    assert_eq!(
        gates,
        [
            "gate | reached | turned away | of those that reached it | left",
            "not answered | 22 | 2 | 9.1% | 20",
            "answer | 20 | 1 | 5.0% | 19",
            "language | 19 | 0 | 0.0% | 19",
            "syntax | 9 | 0 | 0.0% | 19",
            "unchanged | not met |  |  | 19",
            "length | 19 | 2 | 10.5% | 17",
            "contamination | not met |  |  | 17",
            "execution | 7 | 3 | 42.9% | 14",
            "consistency | 4 | 0 | 0.0% | 14",
            "label | 14 | 0 | 0.0% | 14",
            "exact duplicate | 14 | 0 | 0.0% | 14",
            "near duplicate | 14 | 1 | 7.1% | 13",
        ]
    );
    let tasks = table(&document, "Yield by task and gate");
    assert_eq!(
        tasks[1].join(" | "),
        "code_to_summary | 0 of 10 | 0 of 10 | not met | not met | 0 of 10 | not met | not met | not met | 0 of 10 | \
         0 of 10 | 0 of 10 | 10 of 10 wanted"
    );
    assert_eq!(
        tasks[2].join(" | "),
        "text_to_sql | 1 of 10 | 0 of 9 | 0 of 9 | not met | 2 of 9 | not met | 3 of 7 | 0 of 4 | 0 of 4 | 0 of 4 | \
         1 of 4 | 3 of 20 wanted"
    );
    let requests = table(&document, "Requests by call");
    let all = ["all", "1 min 00 s", "123", "2", "45,678", "30,000", "9,012", "", "13"];
    assert_eq!(requests.last().unwrap(), &all);
    assert_eq!(table(&document, "Traffic of the last call")[1], ["retries", "3"]);
}

#[test]
fn rows_are_counted_by_what_they_are() {
    let run = SmallRun::new();
    let page = page(&run, &run.manifest);
    let document = parse(&page);
    let counts = |by: &str| {
        let rows = table(&document, &format!("Rows by {by}")).into_iter().skip(1);
        rows.map(|row| format!("{} {}", row[0], row[1])).collect::<Vec<_>>()
    };
    assert_eq!(counts("task"), ["code_to_summary 10", "text_to_sql 3"]);
    assert_eq!(counts("category"), ["code to text 10", "text to sql 3"]);
    assert_eq!(counts("language"), ["Python 5", "Rust 5", "SQL 3"]);
    assert_eq!(counts("style"), ["Formal 1", "Vague 2"]);
    assert_eq!(counts("measured complexity"), ["Simple 3"]);
    assert_eq!(counts("licence of the code it began with"), ["MIT 7", "Apache-2.0 3"]);
    assert_eq!(counts("the model\u{2019}s label"), ["2 10", "1, then 2 3"]);
    let lengths = table(&document, "Lengths");
    let sum = |column: usize| {
        let cells = lengths.iter().skip(1).map(|row| row[column].split(' ').next().unwrap());
        cells.map(|cell| cell.parse::<u64>().unwrap()).sum::<u64>()
    };
    assert_eq!((sum(1), sum(2)), (13, 13));
    let reasons = table(&document, "Reasons of the gate execution");
    assert_eq!((reasons.len(), reasons[1][1].as_str()), (2, "3"));
    let noticed = table(&document, "What gates noticed");
    assert_eq!(noticed[1], ["text_to_sql", "empty result", "1", "33.3%"]);
}

#[test]
fn twelve_rows_are_shown_and_the_seed_decides_which() {
    let run = SmallRun::new();
    let samples = |manifest: &Manifest| {
        let page = page(&run, manifest);
        let document = parse(&page);
        let samples = section(&document, "accepted");
        let headings = samples.descendants().filter(|node| node.has_tag_name("h3"));
        headings.map(text).collect::<Vec<_>>()
    };
    let first = samples(&run.manifest);
    assert_eq!(first.len(), 12);
    assert_eq!(first, samples(&run.manifest));
    assert_eq!(first.iter().filter(|id| id.starts_with("text_to_sql")).count(), 3);
    let is_other = (0..20).any(|seed| {
        let mut manifest = run.manifest.clone();
        manifest.run.config.seed = seed;
        samples(&manifest) != first
    });
    assert!(is_other);
}

#[test]
fn a_run_without_rows_has_a_page() {
    let run = SmallRun::new();
    let manifest = Manifest::empty(run.manifest.run.clone());
    let page = page(&run, &manifest);
    let document = parse(&page);
    assert!(text(section(&document, "figures")).contains("The run has not ended"));
    assert!(text(section(&document, "accepted")).contains("There are no rows."));
}
