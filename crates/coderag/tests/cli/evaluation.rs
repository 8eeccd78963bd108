//! `coderag eval` on the demo database.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::program::{
    command, demo_database, finish, have_models, language_model_alone, run, run_well,
};

/// A folder with the demo database where Spider has its databases, its tables.json, and files of gold
/// queries and predictions.
struct Evaluation {
    folder: tempfile::TempDir,
}

const GOLD: [&str; 6] = [
    "SELECT count(*) FROM member",
    "SELECT name FROM city WHERE country = 'Portugal'",
    "SELECT T1.name FROM city AS T1 JOIN station AS T2 ON T1.city_id = T2.city_id GROUP BY T1.city_id ORDER BY count(*) DESC LIMIT 1",
    "SELECT name FROM city ORDER BY population DESC",
    "SELECT count(*) FROM bicycle WHERE status = 'in repair'",
    "SELECT name FROM city EXCEPT SELECT T1.name FROM city AS T1 JOIN mechanic AS T2 ON T1.city_id = T2.city_id",
];

/// One of each: right, right outside of the grammar, another column order, wrong order, no such column,
/// a statement that writes.
const PREDICTIONS: [&str; 6] = [
    "select count(*) from member",
    "SELECT c.name FROM city AS c LEFT JOIN station AS s ON c.city_id = s.city_id WHERE c.country = 'Portugal' GROUP BY c.city_id",
    "SELECT T1.name FROM station AS T2 JOIN city AS T1 ON T1.city_id = T2.city_id GROUP BY T2.city_id ORDER BY count(*) DESC LIMIT 1",
    "SELECT name FROM city ORDER BY name",
    "SELECT count(*) FROM bicycle WHERE state = 'in repair'",
    "DELETE FROM city",
];

impl Evaluation {
    fn new() -> Self {
        let evaluation = Self { folder: tempfile::tempdir().unwrap() };
        let databases = evaluation.folder.path().join("database/bicycle_rental");
        fs::create_dir_all(&databases).unwrap();
        demo_database(&databases);
        let columns = json!([
            [-1, "*"],
            [0, "city_id"],
            [0, "name"],
            [0, "country"],
            [0, "population"],
            [1, "station_id"],
            [1, "city_id"],
            [1, "name"],
        ]);
        let tables = json!([{
            "db_id": "bicycle_rental",
            "table_names_original": ["city", "station"],
            "column_names_original": columns,
            "foreign_keys": [[6, 1]],
        }]);
        evaluation.write("tables.json", &tables.to_string());
        let gold: String = GOLD.iter().map(|sql| format!("{sql}\tbicycle_rental\n")).collect();
        evaluation.write("gold.txt", &gold);
        evaluation.write("pred.txt", &(PREDICTIONS.join("\n") + "\n"));
        evaluation
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The arguments of `coderag eval sql` on the files, and more.
    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = ["eval", "sql"].map(str::to_owned).into();
        for (flag, name) in [
            ("--gold", "gold.txt"),
            ("--pred", "pred.txt"),
            ("--tables", "tables.json"),
            ("--db-dir", "database"),
        ] {
            // Only Spider's metrics have a use for it.
            let unused = flag == "--tables" && more.contains(&"bird");
            if !more.contains(&flag) && !unused {
                arguments.extend([flag.to_owned(), self.path(name)]);
            }
        }
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        arguments
    }

    fn run(&self, more: &[&str]) -> crate::program::Run {
        let arguments = self.arguments(more);
        run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What the program said, with the folder's name taken out.
    fn said(&self, more: &[&str]) -> String {
        self.run(more).to_string().replace(self.folder.path().to_str().unwrap(), "FOLDER")
    }

    fn details(&self, name: &str) -> Vec<Value> {
        self.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn predictions_are_scored_as_the_official_script_prints_it() {
    let evaluation = Evaluation::new();
    assert_snapshot!(evaluation.said(&[]), @r#"
    exit code 0
    --- stdout
                         easy                 medium               hard                 extra                all                 
    count                4                    0                    1                    1                    6                   
    =====================   EXECUTION ACCURACY     =====================
    execution            0.500                0.000                0.000                1.000                0.500               

    ====================== EXACT MATCHING ACCURACY =====================
    exact match          0.250                0.000                0.000                1.000                0.333               

    ---------------------PARTIAL MATCHING ACCURACY----------------------
    select               1.000                0.000                0.000                1.000                1.000               
    select(no AGG)       1.000                0.000                0.000                1.000                1.000               
    where                0.000                0.000                0.000                0.000                0.000               
    where(no OP)         0.000                0.000                0.000                0.000                0.000               
    group(no Having)     0.000                0.000                0.000                1.000                1.000               
    group                0.000                0.000                0.000                1.000                1.000               
    order                0.000                0.000                0.000                1.000                0.500               
    and/or               1.000                0.000                1.000                1.000                1.000               
    IUEN                 0.000                0.000                0.000                0.000                0.000               
    keywords             0.000                0.000                0.000                1.000                0.500               
    ---------------------- PARTIAL MATCHING RECALL ----------------------
    select               0.500                0.000                0.000                1.000                0.500               
    select(no AGG)       0.500                0.000                0.000                1.000                0.500               
    where                0.000                0.000                0.000                0.000                0.000               
    where(no OP)         0.000                0.000                0.000                0.000                0.000               
    group(no Having)     0.000                0.000                0.000                1.000                1.000               
    group                0.000                0.000                0.000                1.000                1.000               
    order                0.000                0.000                0.000                1.000                0.500               
    and/or               1.000                0.000                1.000                1.000                1.000               
    IUEN                 0.000                0.000                0.000                0.000                0.000               
    keywords             0.000                0.000                0.000                1.000                0.200               
    ---------------------- PARTIAL MATCHING F1 --------------------------
    select               0.667                0.000                1.000                1.000                0.667               
    select(no AGG)       0.667                0.000                1.000                1.000                0.667               
    where                1.000                0.000                1.000                1.000                1.000               
    where(no OP)         1.000                0.000                1.000                1.000                1.000               
    group(no Having)     1.000                0.000                1.000                1.000                1.000               
    group                1.000                0.000                1.000                1.000                1.000               
    order                1.000                0.000                1.000                1.000                0.500               
    and/or               1.000                0.000                1.000                1.000                1.000               
    IUEN                 1.000                0.000                1.000                1.000                1.000               
    keywords             1.000                0.000                1.000                1.000                0.286               

    ====================== BEYOND THE OFFICIAL SCORES ==================
    structural match                             0.167
    predictions outside the official grammar     3 (0.500)
      of these with the right result             1
    correct                                      3
    wrong order                                  1
    unknown column                               1
    refused                                      1
    "#);
}

#[test]
fn each_question_has_a_line_of_details() {
    let evaluation = Evaluation::new();
    let (details, report) = (evaluation.path("details.jsonl"), evaluation.path("report.html"));
    let run = evaluation.run(&["--details", &details, "--html", &report, "--json"]);
    assert_eq!(run.code, 0, "{run}");
    let summary: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(summary["questions"], 6);

    let lines = evaluation.details("details.jsonl");
    let of = |key: &str| lines.iter().map(|line| line[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("index"), (0..6).map(Value::from).collect::<Vec<_>>());
    assert_eq!(of("exact_match"), [true, false, true, false, false, false]);
    assert_eq!(of("execution"), [true, true, true, false, false, false]);
    assert_eq!(
        of("outcome"),
        ["correct", "correct", "correct", "wrong_order", "unknown_column", "refused"]
    );
    assert_eq!(of("hardness"), ["easy", "easy", "extra", "easy", "easy", "hard"]);
    assert_eq!(lines[4]["error"], "no such column: state");
    assert_eq!(lines[3]["gold_shape"], json!({"rows": 6, "columns": 1}));

    let report = evaluation.read("report.html");
    assert!(report.contains("no such column: state") && report.contains("</html>"));
}

#[test]
fn strict_compatibility_runs_what_the_official_script_runs_on_a_copy() {
    let evaluation = Evaluation::new();
    let database = evaluation.path("database/bicycle_rental/bicycle_rental.sqlite");
    let before = fs::read(&database).unwrap();
    evaluation.write("pred.txt", &"DELETE FROM city\n".repeat(6));
    // To Python a statement that returns nothing has an empty result, as these gold queries do.
    evaluation.write(
        "gold.txt",
        &"SELECT name FROM city WHERE population < 0\tbicycle_rental\n".repeat(6),
    );
    let details = evaluation.path("details.jsonl");
    for (flag, outcome) in [(None, "refused"), (Some("--strict-compat"), "correct")] {
        let mut more = vec!["--details", details.as_str()];
        more.extend(flag);
        let run = evaluation.run(&more);
        assert_eq!(run.code, 0, "{run}");
        for line in evaluation.details("details.jsonl") {
            assert_eq!(line["outcome"], outcome, "{line}");
        }
    }
    assert_eq!(fs::read(&database).unwrap(), before);
}

#[test]
fn parse_trees_are_written_in_the_shape_of_spider() {
    let evaluation = Evaluation::new();
    let trees = evaluation.path("trees.jsonl");
    let run = evaluation.run(&["--only", "match", "--trees", &trees]);
    assert_eq!(run.code, 0, "{run}");
    let lines = evaluation.details("trees.jsonl");
    assert_eq!(
        lines[1],
        json!({"index": 1, "db_id": "bicycle_rental", "sql": {
            "except": null,
            "from": {"conds": [], "table_units": [["table_unit", "__city__"]]},
            "groupBy": [],
            "having": [],
            "intersect": null,
            "limit": null,
            "orderBy": [],
            "select": [false, [[0, [0, [0, "__city.name__", false], null]]]],
            "union": null,
            "where": [[false, 2, [0, [0, "__city.country__", false], null], "\"Portugal\"", null]],
        }})
    );
}

#[test]
fn bird_has_its_own_files_and_table() {
    let evaluation = Evaluation::new();
    let predictions = json!({
        "0": "select count(*) from member\t----- bird -----\tbicycle_rental",
        "1": "SELECT name, country FROM city WHERE country = 'Portugal'\t----- bird -----\tbicycle_rental",
        "3": null,
        "4": "SELECT count(*) FROM bicycle WHERE status = 'in repair'",
        "5": "SELECT 1",
    });
    let predictions = evaluation.write("predictions.json", &predictions.to_string());
    let difficulties: String =
        ["simple", "simple", "challenging", "moderate", "simple", "moderate"]
            .map(|difficulty| json!({"difficulty": difficulty}).to_string() + "\n")
            .concat();
    let difficulty = evaluation.write("difficulty.jsonl", &difficulties);
    let details = evaluation.path("details.jsonl");
    let more = [
        "--metric",
        "bird",
        "--pred",
        &predictions,
        "--difficulty",
        &difficulty,
        "--repetitions",
        "3",
        "--details",
        &details,
    ];
    let run = evaluation.run(&more);
    assert_eq!(run.code, 0, "{run}");
    // R-VES depends on the clock; the rest does not.
    let table: Vec<&str> = run.stdout.lines().filter(|line| !line.starts_with("R-VES")).collect();
    assert_snapshot!(table.join("\n"), @r#"
                         simple               moderate             challenging          total               
    count                3                    2                    1                    6                   
    ======================================    EX    =====================================
    EX                   66.67                0.00                 0.00                 33.33               
    ======================================    Soft-F1    =====================================
    Soft-F1              88.89                0.00                 0.00                 44.44               
    ======================================    R-VES    =====================================
    "#);
    let lines = evaluation.details("details.jsonl");
    assert_eq!(lines[0]["gold_seconds"].as_array().unwrap().len(), 3);
    assert_eq!(lines[2]["error"], "there is no prediction");
}

#[test]
fn sql_eval_takes_any_of_several_gold_queries() {
    let evaluation = Evaluation::new();
    let questions = "db_name,query_category,query,question,generated_query\n\
        bicycle_rental,group_by,\"SELECT {city.name, city.city_id} FROM city;\",Which cities?,SELECT city_id FROM city\n\
        bicycle_rental,order_by,SELECT name FROM city ORDER BY population,Which cities in order?,\"SELECT name, country FROM city ORDER BY population\"\n\
        bicycle_rental,order_by,SELECT name FROM city,Which cities?,SELECT nothing\n";
    let questions = evaluation.write("questions.csv", questions);
    let databases = evaluation.path("database");
    let run = run_well(&[
        "eval", "sql", "--metric", "sql-eval", "--gold", &questions, "--db-dir", &databases,
    ]);
    assert_snapshot!(run.stdout, @r#"
                            count    exact  correct
    group_by                    1    1.000    1.000
    order_by                    2    0.000    0.500
    all                         3    0.333    0.667
    "#);
}

#[test]
fn what_does_not_fit_together_is_an_error() {
    let evaluation = Evaluation::new();
    let short = evaluation.write("short.txt", "SELECT 1\n");
    assert_snapshot!(evaluation.said(&["--pred", &short]), @r#"
    exit code 1
    --- stderr
    error: FOLDER/gold.txt has 6 questions and FOLDER/short.txt has 1 entries; they must be equal in number and order
    "#);
    let no_tab = evaluation.write("no_tab.txt", "SELECT 1 bicycle_rental\n");
    assert_snapshot!(evaluation.said(&["--gold", &no_tab]), @r#"
    exit code 1
    --- stderr
    error: FOLDER/no_tab.txt:1: expected a query, a tab and a database, found 1 fields
    "#);
    let elsewhere = evaluation.write("elsewhere.txt", "SELECT 1\t../secret\n");
    assert_snapshot!(evaluation.said(&["--gold", &elsewhere, "--pred", &short]), @r#"
    exit code 1
    --- stderr
    error: there is no database file for `../secret`: FOLDER/database/../secret/../secret.sqlite is missing
    "#);
    assert_snapshot!(evaluation.said(&["--gold", "/no/such/file"]), @r#"
    exit code 1
    --- stderr
    error: cannot read /no/such/file: No such file or directory (os error 2)
    "#);
    assert_snapshot!(evaluation.said(&["--tables", &short]), @r#"
    exit code 1
    --- stderr
    error: cannot read FOLDER/short.txt as JSON of the expected shape: expected value at line 1 column 1
    "#);
    let databases = evaluation.path("database");
    let gold = evaluation.path("gold.txt");
    let no_tables = run(&["eval", "sql", "--gold", &gold, "--pred", &gold, "--db-dir", &databases]);
    assert_snapshot!(no_tables, @r#"
    exit code 1
    --- stderr
    error: exact match needs the foreign keys of the databases: give Spider's tables.json as --tables, or --only execution
    "#);
    assert_snapshot!(evaluation.said(&["--timeout", "soon"]), @r#"
    exit code 2
    --- stderr
    error: invalid value 'soon' for '--timeout <SECONDS>': seconds from 0.001 to 86400 are needed

    For more information, try '--help'.
    "#);
}

#[test]
fn a_language_model_is_asked_once_for_each_question() {
    const MODEL: &str = "qwen2.5-coder-0.5b-instruct";
    if !have_models(&[MODEL]) {
        return;
    }
    let _alone = language_model_alone();
    let evaluation = Evaluation::new();
    let questions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../eval/demo/questions.jsonl");
    let (predictions, databases) = (evaluation.path("asked.txt"), evaluation.path("database"));
    let arguments = [
        "eval",
        "sql",
        "--questions",
        questions.to_str().unwrap(),
        "--limit",
        "3",
        "--pred",
        &predictions,
        "--db-dir",
        &databases,
        "--only",
        "execution",
        "--json",
    ];
    let summary: Value = serde_json::from_str(&run_well(&arguments).stdout).unwrap();
    assert_eq!(summary["questions"], 3);
    let first = evaluation.read("asked.txt");
    assert_eq!(first.lines().count(), 3, "{first}");
    assert!(first.starts_with("SELECT"), "{first}");

    // As a kill in the middle of the third answer leaves it.
    let second_end = first.match_indices('\n').nth(1).unwrap().0 + 1;
    fs::write(&predictions, &first[..second_end + 3]).unwrap();
    run_well(&arguments);
    assert_eq!(evaluation.read("asked.txt"), first);

    // Nothing is left to ask, so no model is loaded, not even one that there is not.
    let mut without_model = command(&arguments);
    without_model.env("CODERAG_CACHE", evaluation.path("empty"));
    assert_eq!(finish(without_model).code, 0);

    let mut other_limit = arguments;
    other_limit[5] = "2";
    let refused = run(&other_limit);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("holds predictions of another run"), "{refused}");
}

#[test]
fn retrieval_is_scored_against_judgements() {
    if !have_models(&["all-MiniLM-L6-v2"]) {
        return;
    }
    let evaluation = Evaluation::new();
    let demo = evaluation.path("database/bicycle_rental/bicycle_rental.sqlite");
    let index = evaluation.path("index");
    run_well(&["index", "build", "--corpus", &demo, "--output", &index]);
    let search = ["index", "search", "--index", &index, "mechanics", "-k", "8", "--json"];
    let hits: Value = serde_json::from_str(&run_well(&search).stdout).unwrap();
    let id = |title: &str| {
        let hits = hits["hits"].as_array().unwrap();
        let hit = hits.iter().find(|hit| hit["document"]["title"] == title).unwrap();
        hit["document"]["id"].as_str().unwrap().to_owned()
    };
    let queries = evaluation.write(
        "queries.jsonl",
        "{\"id\": \"q1\", \"text\": \"Who repairs bicycles?\"}\n\
         {\"id\": \"q2\", \"text\": \"How many people live in each city?\"}\n",
    );
    let judgements =
        format!("q1 0 {} 1\nq2 0 {} 1\n", id("bicycle_rental.mechanic"), id("bicycle_rental.city"));
    let judgements = evaluation.write("qrels.txt", &judgements);
    let run = run_well(&[
        "eval",
        "retrieval",
        "--index",
        &index,
        "--queries",
        &queries,
        "--qrels",
        &judgements,
        "-k",
        "3,8",
        "--json",
    ]);
    let metrics: Value = serde_json::from_str(&run.stdout).unwrap();
    // Among all eight tables everything is found.
    assert_eq!(metrics["at"][1]["recall"], 1.0, "{metrics}");
    assert!(metrics["at"][0]["recall"].as_f64().unwrap() > 0.0, "{metrics}");
}
