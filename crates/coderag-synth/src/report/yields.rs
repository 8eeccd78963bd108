//! What the gates let through.

use std::fmt::Write as _;

use coderag_eval::report::markup::{Code, Count, Escaped, Percent};

use super::bars::{Bar, share};
use super::survey::Survey;
use super::table::{Column, Table};
use crate::output::{GateCounts, Manifest};
use crate::row::Gate;

/// The yield of each gate, for all tasks and for each.
pub(super) fn yields(manifest: &Manifest) -> String {
    format!("{}{}{}", of_all(manifest), of_tasks(manifest), notes(manifest))
}

fn count(number: u64) -> Count {
    Count(number as usize)
}

fn of_all(manifest: &Manifest) -> String {
    let candidates: u64 = manifest.tasks.iter().map(|task| task.candidates).sum();
    let failed: u64 = manifest.tasks.iter().map(|task| task.failed).sum();
    let mut left = candidates.saturating_sub(failed);
    let mut rows = Vec::new();
    let mut add = |name: &str, reached: String, away: String, lost: String, left: u64| {
        let share = share(left, candidates);
        let left = format!("{}{}", count(left), Bar(share));
        rows.push(vec![name.to_owned(), reached, away, lost, left, Percent(share).to_string()]);
    };
    let answered = share(failed, candidates);
    add(
        "not answered",
        count(candidates).to_string(),
        count(failed).to_string(),
        Percent(answered).to_string(),
        left,
    );
    for GateCounts { gate, is_met, reached, rejected } in manifest.funnel() {
        left = left.saturating_sub(rejected);
        let [reached, away, lost] = if is_met {
            let lost = Percent(share(rejected, reached)).to_string();
            [count(reached).to_string(), count(rejected).to_string(), lost]
        } else {
            [NOT_MET.to_owned(), String::new(), String::new()]
        };
        add(&spelt(gate), reached, away, lost, left);
    }
    let columns = [
        Column::Text("gate"),
        Column::Number("reached"),
        Column::Number("turned away"),
        Column::Number("of those that reached it"),
        Column::Number("left"),
        Column::Number("of all candidates"),
    ];
    Table { label: "Yield by gate", columns: &columns, rows }.to_string()
}

/// A table of tasks by gates: the stronger the colour, the more is lost.
fn of_tasks(manifest: &Manifest) -> String {
    let mut text = String::from(
        "<h3 class=\"below\">By task</h3>\n<p>How many candidates a gate turned away, of how many that reached it. \
         The stronger the colour, the larger the share.</p>\n\
         <div class=\"wide\" role=\"region\" aria-label=\"Yield by task and gate\" tabindex=\"0\">\n\
         <table class=\"heat\">\n<thead><tr><th scope=\"col\">task</th>",
    );
    // Writing to a text cannot fail.
    for gate in Gate::ALL {
        let _ = write!(text, "<th scope=\"col\" class=\"number\">{}</th>", spelt(gate));
    }
    text.push_str("<th scope=\"col\" class=\"number\">rows</th></tr></thead>\n<tbody>\n");
    for task in &manifest.tasks {
        let _ = write!(text, "<tr><th scope=\"row\">{}</th>", Escaped(&task.name));
        for GateCounts { is_met, reached, rejected, .. } in manifest.funnel_of(task) {
            let _ = if is_met {
                write!(
                    text,
                    "<td class=\"number\" style=\"--lost:{:.3}\">{} of {}</td>",
                    share(rejected, reached),
                    count(rejected),
                    count(reached)
                )
            } else {
                write!(text, "<td class=\"number muted\">{NOT_MET}</td>")
            };
        }
        let _ = writeln!(
            text,
            "<td class=\"number\">{} of {} wanted</td></tr>",
            count(task.accepted),
            count(task.wanted)
        );
    }
    text.push_str("</tbody>\n</table>\n</div>\n");
    text
}

const NOT_MET: &str = "not met";

/// What gates noticed about accepted rows.
fn notes(manifest: &Manifest) -> String {
    let rows: Vec<Vec<String>> = manifest
        .tasks
        .iter()
        .flat_map(|task| {
            task.notes.iter().map(|(note, number)| {
                vec![
                    Escaped(&task.name).to_string(),
                    Escaped(&note.replace('_', " ")).to_string(),
                    count(*number).to_string(),
                    Percent(share(*number, task.accepted)).to_string(),
                ]
            })
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let columns = [
        Column::Text("task"),
        Column::Text("what was noticed"),
        Column::Number("rows"),
        Column::Number("of the task\u{2019}s"),
    ];
    let table = Table { label: "What gates noticed", columns: &columns, rows };
    format!("<h3 class=\"below\">What gates noticed about accepted rows</h3>\n{table}")
}

/// The most frequent reasons of each gate.
pub(super) fn reasons(survey: &Survey) -> String {
    let mut text = String::new();
    for (gate, reasons) in &survey.reasons {
        let (kinds, rest) = reasons.most_frequent(MOST_REASONS);
        let total = rest + kinds.iter().map(|(_, kind)| kind.count).sum::<u64>();
        let mut rows: Vec<Vec<String>> = kinds
            .iter()
            .map(|(text, kind)| {
                vec![
                    Code(text).to_string(),
                    count(kind.count).to_string(),
                    Percent(share(kind.count, total)).to_string(),
                    Code(&kind.example).to_string(),
                ]
            })
            .collect();
        if rest > 0 {
            let share = Percent(share(rest, total)).to_string();
            rows.push(vec![
                "<em>others</em>".to_owned(),
                count(rest).to_string(),
                share,
                String::new(),
            ]);
        }
        let columns = [
            Column::Text("reason"),
            Column::Number("candidates"),
            Column::Number("of the gate\u{2019}s"),
            Column::Text("the first one"),
        ];
        let label = format!("Reasons of the gate {}", spelt(*gate));
        let table = Table { label: &label, columns: &columns, rows };
        text.push_str(&format!("<h3 class=\"below\">{}</h3>\n{table}", spelt(*gate)));
    }
    text
}

const MOST_REASONS: usize = 5;

/// A gate's name for people.
pub(super) fn spelt(gate: Gate) -> String {
    gate.id().replace('_', " ")
}
