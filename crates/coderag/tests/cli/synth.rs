//! `coderag synth` against a server that answers what the prompts ask for.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::mock_server::{MockServer, Request, completion, respond, respond_json, send};
use crate::program::{Run, command, finish, project};

/// A temporary folder with code, a schema and settings.
struct Folder(tempfile::TempDir);

/// What the tasks of the tests want, together.
const ROWS: u64 = 30;

impl Folder {
    /// Settings for a server; `more` comes first, where keys stand that belong to no table.
    fn new(base_url: &str, more: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.path("code")).unwrap();
        fs::write(folder.path("code/LICENSE"), licence()).unwrap();
        fs::write(folder.path("code/functions.py"), functions()).unwrap();
        fs::write(folder.path("shop.sql"), SCHEMA).unwrap();
        let prompts = project().canonicalize().unwrap().join("configs/prompts");
        let settings = format!(
            r#"
prompts = "{}"
{more}
[model]
name = "mock"
[model.endpoint]
base_url = "{base_url}"
stream = false
retries = 40
first_pause_seconds = 0.001
longest_pause_seconds = 0.01
idle_timeout_seconds = 0.3
[seeds.code]
folders = ["code"]
per_file = 1000
[seeds.schemas]
files = ["shop.sql"]
[[choices.style]]
name = "Plain"
description = "Plain words."
[[choices.complexity]]
name = "Simple"
description = "One table."
[[task]]
name = "query_for_code"
category = "text_to_code"
rows = 20
prompt = "query_for_code.md"
seed = "code"
languages = ["python"]
answer = {{ query = "text" }}
anchor = "{{{{ query }}}}"
positive = "{{{{ code }}}}"
[[task]]
name = "text_to_sql"
category = "text_to_sql"
rows = 10
prompt = "text_to_sql.md"
seed = "schema"
choose = ["complexity", "style"]
answer = {{ sql = "sql", explanation = "text", question = "text" }}
anchor = "{{{{ question }}}}"
positive = "{{{{ sql }}}}"
"#,
            prompts.display()
        );
        fs::write(folder.path("synth.toml"), settings).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, output: &str, more: &[&str]) -> std::process::Command {
        let (config, output) = (self.path("synth.toml"), self.path(output));
        let mut arguments = vec!["synth", "--config", config.to_str().unwrap()];
        arguments.extend(["--output", output.to_str().unwrap()]);
        arguments.extend(more);
        command(&arguments)
    }

    fn synth(&self, output: &str, more: &[&str]) -> Run {
        finish(self.command(output, more))
    }

    fn synth_well(&self, output: &str, more: &[&str]) -> Run {
        let run = self.synth(output, more);
        assert_eq!(run.code, 0, "{run}");
        run
    }

    fn start(&self, output: &str) -> Child {
        self.command(output, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn manifest(&self, output: &str) -> Value {
        let text = fs::read_to_string(self.path(output).join("manifest.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The digests of the files of rows by their names.
    fn rows(&self, output: &str) -> Value {
        self.manifest(output)["files"].clone()
    }
}

const SCHEMA: &str = "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT, price REAL, stock INTEGER);\n\
     CREATE TABLE sale (id INTEGER PRIMARY KEY, product_id INTEGER REFERENCES product(id), quantity INTEGER, day DATE);\n";

fn licence() -> &'static str {
    "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this \
     software and associated documentation files (the \"Software\"), to deal in the Software without \
     restriction.\n\nTHE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND.\n"
}

/// Words that no two texts of the tests have much in common of.
fn words(number: usize, count: usize) -> Vec<String> {
    const PARTS: [&str; 16] = [
        "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty",
        "knoll", "lagoon", "meadow", "north", "ocean", "pebble",
    ];
    let word = |place: usize| {
        let mixed = (number * 31 + place * 17 + 7).wrapping_mul(2_654_435_761) >> 5;
        format!("{}{}", PARTS[mixed % 16], PARTS[(mixed / 16) % 16])
    };
    (0..count).map(word).collect()
}

fn functions() -> String {
    let mut text = String::new();
    for number in 0..60 {
        let words = words(number, 6);
        let [name, a, b, c, d, e] = words.each_ref_array();
        writeln!(
            text,
            "def {name}({a}, {b}):\n    {c} = {a}.{d}({b})\n    for {e} in {c}:\n        {b} += {e} * {number}\n    return {b}\n"
        )
        .unwrap();
    }
    text
}

trait Six {
    fn each_ref_array(&self) -> [&str; 6];
}

impl Six for Vec<String> {
    fn each_ref_array(&self) -> [&str; 6] {
        std::array::from_fn(|place| self[place].as_str())
    }
}

/// What a willing model would say, different for each prompt.
fn answer(body: &Value) -> String {
    let messages = body["messages"].as_array().unwrap();
    let system = messages[0]["content"].as_str().unwrap();
    let seed = body["seed"].as_u64().unwrap_or_default() as usize;
    if system.contains("digit") {
        "2".to_owned()
    } else if system.contains("what a programmer who needs exactly this function") {
        format!("Query: combine {} in a loop", words(seed % 100_000, 7).join(" and "))
    } else if system.contains("a query on a database and the question") {
        format!(
            "SQL:\n```sql\n{}\n```\n\nQuestion: Which products are there for {} under number {seed} in the list?\n\n\
             Explanation: It compares columns of a table.",
            query(seed, ">"),
            words(seed % 100_000, 5).join(" "),
        )
    } else if system.contains("You answer questions with one SELECT") {
        let question = messages.last().unwrap()["content"].as_str().unwrap();
        let number = question.split("under number ").nth(1).unwrap().split(' ').next().unwrap();
        let number: usize = number.parse().unwrap();
        // One question in eight is misunderstood.
        let comparison = if number.is_multiple_of(8) { "<=" } else { ">" };
        format!("```sql\n{}\n```", query(number, comparison))
    } else {
        "Domain: retail\nDescription: Products of a shop and their sales.".to_owned()
    }
}

fn answer_well(_: usize, request: &Request, connection: &mut TcpStream) {
    respond_json(connection, "200 OK", &completion(&answer(&request.body), "stop"));
}

/// One of many queries.
fn query(number: usize, comparison: &str) -> String {
    let pick = |place: usize, list: &'static [&'static str]| {
        list[(number / 7_usize.pow(place as u32)) % list.len()]
    };
    format!(
        "SELECT {}, {} FROM product WHERE {} {comparison} {} ORDER BY {}",
        pick(
            0,
            &[
                "name",
                "price",
                "stock * 2",
                "upper(name)",
                "price + 1",
                "length(name)",
                "stock - 3"
            ]
        ),
        pick(
            1,
            &[
                "id",
                "lower(name)",
                "abs(stock)",
                "round(price)",
                "price * 3",
                "id + 1",
                "name || 'x'"
            ]
        ),
        pick(2, &["price", "stock", "id", "length(name)", "price + stock", "id * 2", "stock - 1"]),
        number % 50,
        pick(
            3,
            &[
                "id",
                "name, id",
                "price, id",
                "stock, id",
                "id DESC",
                "price DESC, id",
                "stock DESC, id"
            ]
        ),
    )
}

/// How often each request came.
fn counts(server: &MockServer) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for request in server.requests() {
        *counts.entry(request.body.to_string()).or_default() += 1;
    }
    counts
}

fn sum(manifest: &Value, key: &str) -> u64 {
    manifest["tasks"].as_array().unwrap().iter().map(|task| task[key].as_u64().unwrap()).sum()
}

#[test]
fn a_run_makes_the_rows_that_are_wanted_and_asks_nothing_twice() {
    let server = MockServer::start(answer_well);
    let folder = Folder::new(&server.base_url, "");
    let run = folder.synth_well("run", &[]);
    assert!(run.stdout.contains("query_for_code"), "{run}");
    let manifest = folder.manifest("run");
    assert_eq!(
        (sum(&manifest, "accepted"), &manifest["finished"]),
        (ROWS, &Value::Bool(true)),
        "{run}"
    );
    let (asked, counts) = (server.requests().len(), counts(&server));
    assert_eq!(counts.len(), asked, "a request was sent twice");
    for name in
        ["pairs/part-00000.parquet", "gretel/part-00000.parquet", "README.md", "report.html"]
    {
        assert!(folder.path("run").join(name).is_file(), "{name}");
    }
    // The same again costs nothing and gives the same.
    let rows = folder.rows("run");
    folder.synth_well("run", &[]);
    assert_eq!((server.requests().len(), folder.rows("run")), (asked, rows));
    let inspected = finish(command(&["synth", "inspect", folder.path("run").to_str().unwrap()]));
    assert_eq!(inspected.code, 0, "{inspected}");
    assert!(inspected.stdout.contains("query_for_code"), "{inspected}");
}

#[test]
fn code_that_is_given_back_as_it_was_is_no_row() {
    // Every other answer differs in a comment and a line break alone.
    let rewrite = |_: usize, request: &Request, connection: &mut TcpStream| {
        let code = request.body["messages"].as_array().unwrap().last().unwrap()["content"].clone();
        let code = code.as_str().unwrap().trim().trim_end_matches('`');
        let lazy = request.body["seed"].as_u64().unwrap_or_default().is_multiple_of(2);
        let answer = match lazy {
            true => code.replace(":\n", ":  # now better\n\n"),
            false => code.replace(" += ", " -= "),
        };
        let text = if request.body.to_string().contains("digit") {
            "2".to_owned()
        } else {
            format!("{answer}```")
        };
        respond_json(connection, "200 OK", &completion(&text, "stop"));
    };
    let server = MockServer::start(rewrite);
    let folder = Folder::new(&server.base_url, "");
    let text = fs::read_to_string(folder.path("synth.toml")).unwrap();
    let (settings, _) = text.split_once("[[task]]").unwrap();
    let task = r#"
[[task]]
name = "rewrite_code"
category = "code_to_code"
rows = 12
prompt = "rewrite_code.md"
seed = "code"
languages = ["python"]
answer = { rewritten = "code" }
anchor = "{{ code }}"
positive = "{{ rewritten }}"
"#;
    fs::write(folder.path("synth.toml"), format!("{settings}{task}")).unwrap();
    let rejected = |output| folder.manifest(output)["tasks"][0]["rejected"]["unchanged"].clone();
    folder.synth_well("run", &[]);
    assert_eq!(sum(&folder.manifest("run"), "accepted"), 12);
    assert!(rejected("run").as_u64().is_some_and(|count| count > 0), "{}", rejected("run"));
    // With other settings rows are made anew, and what was asked before still counts.
    let settings = settings.replace("[model]", "[gates]\nunchanged = false\n[model]");
    fs::write(folder.path("synth.toml"), format!("{settings}{task}")).unwrap();
    folder.synth_well("run", &[]);
    let calls = folder.manifest("run")["calls"].clone();
    let asked = |call: usize| calls[call]["requests"]["requests"].as_u64().unwrap();
    assert_eq!((rejected("run"), calls.as_array().unwrap().len()), (Value::Null, 2));
    assert_eq!(asked(0) + asked(1), server.requests().len() as u64);
}

#[test]
fn a_killed_run_loses_no_row_and_asks_nothing_twice() {
    const IN_FLIGHT: usize = 4;
    let slowly = |number: usize, request: &Request, connection: &mut TcpStream| {
        thread::sleep(Duration::from_millis(15));
        answer_well(number, request, connection);
    };
    let settings = format!("requests = {{ in_flight = {IN_FLIGHT} }}");
    let undisturbed = MockServer::start(answer_well);
    let folder = Folder::new(&undisturbed.base_url, &settings);
    folder.synth_well("whole", &[]);
    let server = MockServer::start(slowly);
    let text = fs::read_to_string(folder.path("synth.toml")).unwrap();
    let text = text.replace(&undisturbed.base_url, &server.base_url);
    fs::write(folder.path("synth.toml"), text).unwrap();
    for requests in [7, 25, 60] {
        let mut run = folder.start("run");
        let deadline = Instant::now() + Duration::from_secs(60);
        while server.requests().len() < requests {
            assert!(Instant::now() < deadline && run.try_wait().unwrap().is_none());
            thread::sleep(Duration::from_millis(2));
        }
        run.kill().unwrap();
        run.wait().unwrap();
    }
    folder.synth_well("run", &[]);
    assert_eq!(folder.rows("run"), folder.rows("whole"));
    assert_eq!(counts(&server).len(), undisturbed.requests().len());
    // Only what was on its way when the process died may be asked again.
    let counts = counts(&server);
    let again: usize = counts.values().map(|count| count - 1).sum();
    assert!(again <= 3 * IN_FLIGHT, "{again} requests were sent again");
    assert!(counts.values().all(|count| *count <= 4));
}

#[test]
fn a_bad_server_is_outlasted_and_everything_is_counted() {
    /// One in six requests is answered, the others meet five faults in turn.
    const FAULTS: usize = 5;
    let seen = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
    let faults: Arc<[AtomicUsize; FAULTS]> = Arc::default();
    let (requests, drawn) = (seen, faults.clone());
    let server = MockServer::start(move |_, request, connection| {
        let times = {
            let mut requests = requests.lock().unwrap();
            let times = requests.entry(request.body.to_string()).or_default();
            *times += 1;
            *times
        };
        // Where a request begins in the row of faults depends on what it is.
        let fault = (times + request.body.to_string().len()) % (FAULTS + 1);
        if let Some(counter) = drawn.get(fault) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let whole = completion(&answer(&request.body), "stop");
        match fault {
            0 => respond(connection, "429 Too Many Requests", "Retry-After: 0\r\n", "{}"),
            1 => respond(connection, "500 Internal Server Error", "", "oops"),
            2 => thread::sleep(Duration::from_millis(900)),
            3 => respond_json(connection, "200 OK", &whole[..whole.len() / 2]),
            4 => send(connection, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{\"choices\": ["),
            _ => respond_json(connection, "200 OK", &whole),
        }
    });
    let folder = Folder::new(&server.base_url, "requests = { in_flight = 16 }");
    let run = folder.synth_well("run", &[]);
    let manifest = folder.manifest("run");
    assert_eq!((sum(&manifest, "accepted"), sum(&manifest, "failed")), (ROWS, 0), "{run}");
    let traffic = &manifest["traffic"];
    let counted = |name: &str| traffic[name].as_u64().unwrap() as usize;
    let met = |fault: usize| faults[fault].load(Ordering::Relaxed);
    assert_eq!(counted("attempts"), server.requests().len(), "{traffic}");
    assert_eq!(counted("rate_limited"), met(0), "{traffic}");
    assert_eq!(counted("server_errors"), met(1), "{traffic}");
    assert_eq!(counted("timeouts"), met(2), "{traffic}");
    assert_eq!(counted("malformed") + counted("disconnected"), met(3) + met(4), "{traffic}");
    assert!((0..FAULTS).all(|fault| met(fault) > 10), "{traffic}");
}

#[test]
fn a_dead_endpoint_ends_the_run_and_the_run_goes_on_when_it_is_back() {
    let dead = Arc::new(AtomicUsize::new(0));
    let limit = Arc::new(AtomicUsize::new(20));
    let (answered, most) = (dead.clone(), limit.clone());
    let server = MockServer::start(move |number, request, connection| {
        if answered.fetch_add(1, Ordering::Relaxed) < most.load(Ordering::Relaxed) {
            answer_well(number, request, connection);
        } else {
            respond(connection, "503 Service Unavailable", "", "down for today");
        }
    });
    let folder =
        Folder::new(&server.base_url, "requests = { in_flight = 2, failures_in_a_row = 3 }");
    let text = fs::read_to_string(folder.path("synth.toml")).unwrap();
    fs::write(folder.path("synth.toml"), text.replace("retries = 40", "retries = 1")).unwrap();
    let run = folder.synth("run", &[]);
    assert_eq!(run.code, 1, "{run}");
    assert!(
        run.stderr.contains("the model failed 3 times in a row") && run.stderr.contains("503"),
        "{run}"
    );
    limit.store(usize::MAX, Ordering::Relaxed);
    folder.synth_well("run", &[]);
    assert_eq!(sum(&folder.manifest("run"), "accepted"), ROWS);
}

#[test]
fn a_budget_stops_a_run_that_goes_on_with_a_larger_one() {
    let server = MockServer::start(answer_well);
    let folder = Folder::new(&server.base_url, "budget = { requests = 25 }");
    let run = folder.synth_well("run", &[]);
    assert!(run.stderr.contains("the budget is used up: `budget.requests` = 25"), "{run}");
    assert_eq!(
        (server.requests().len(), &folder.manifest("run")["finished"]),
        (25, &Value::Bool(false))
    );
    let text = fs::read_to_string(folder.path("synth.toml")).unwrap();
    fs::write(folder.path("synth.toml"), text.replace("requests = 25", "requests = 0")).unwrap();
    folder.synth_well("run", &[]);
    assert_eq!(counts(&server).len(), server.requests().len(), "a request was sent twice");
    assert_eq!(sum(&folder.manifest("run"), "accepted"), ROWS);
}

#[test]
fn an_interrupted_run_ends_well_and_goes_on() {
    let server = MockServer::start(|number, request, connection| {
        thread::sleep(Duration::from_millis(20));
        answer_well(number, request, connection);
    });
    let folder = Folder::new(&server.base_url, "requests = { in_flight = 2 }");
    let mut run = folder.start("run");
    while server.requests().len() < 12 {
        thread::sleep(Duration::from_millis(5));
    }
    let id = run.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert_eq!(folder.manifest("run")["finished"], Value::Bool(false));
    folder.synth_well("run", &[]);
    assert_eq!(counts(&server).len(), server.requests().len(), "a request was sent twice");
}

#[test]
fn a_dry_run_shows_ten_prompts_and_sends_nothing() {
    let server = MockServer::start(answer_well);
    let folder = Folder::new(&server.base_url, "");
    let config = folder.path("synth.toml");
    let run = finish(command(&["synth", "--config", config.to_str().unwrap(), "--dry-run"]));
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(run.stdout.matches("==== ").count(), 10, "{run}");
    assert!(run.stdout.contains("CREATE TABLE product") && run.stdout.contains("def "), "{run}");
    assert!(server.requests().is_empty());
}

#[test]
fn mistakes_in_the_settings_are_named() {
    let folder = Folder::new("http://127.0.0.1:1/v1", "");
    let text = fs::read_to_string(folder.path("synth.toml")).unwrap();
    for (was, is, message) in [
        ("rows = 20", "rowz = 20", "unknown key `rowz`; did you mean `rows`?"),
        ("rows = 20", "rows = 0", "the setting `rows` of the task `query_for_code` is wrong"),
        ("\"complexity\", \"style\"", "\"complxity\"", "there is no list `complxity`"),
        ("query_for_code.md", "nothing.md", "nothing.md"),
        ("{{ query }}", "{{ querry }}", "querry"),
    ] {
        fs::write(folder.path("synth.toml"), text.replace(was, is)).unwrap();
        let run = folder.synth("run", &[]);
        assert!(run.code == 1 && run.stderr.contains(message), "{is}\n{run}");
    }
}
