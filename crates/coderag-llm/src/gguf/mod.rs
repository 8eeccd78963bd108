//! Runs GGUF model files in this process with llama.cpp.

mod answer;
mod cache;
mod clock;
mod engine;
mod literal;
mod log;
mod options;
mod template;
mod text;
mod tokens;

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, LazyLock};

use coderag_core::{ChatModel, ChatRequest, ChatResponse, FinishReason, Sampling};
use llama_cpp_2::LlamaModelLoadError;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;

pub use self::options::GgufOptions;

use self::answer::{Answer, Event};
use self::cache::Cache;
use self::engine::{Engine, Prompt, Request};
use self::literal::Disarmed;
use self::template::ChatTemplate;
use self::text::TextStream;
use self::tokens::Tokens;
use crate::{Error, Result};

/// llama.cpp's global state, set up once per process.
static BACKEND: LazyLock<Result<LlamaBackend, String>> = LazyLock::new(|| {
    log::redirect();
    LlamaBackend::init().map_err(|error| error.to_string())
});

/// A chat model in a GGUF file, run by llama.cpp.
///
/// Up to [`GgufOptions::parallel`] requests are answered at once; the others wait for their turn.
/// What a conversation has in common with another one, from its first token on, is not evaluated
/// again as long as it is in memory.
///
/// One at a time, the same request gives the same answer. Several at once do not always: llama.cpp
/// rounds differently when it evaluates more or fewer tokens together, and where two tokens are
/// almost equally probable that decides.
#[derive(Debug)]
pub struct GgufModel {
    name: String,
    template: ChatTemplate,
    tokens: Arc<Tokens>,
    /// The most tokens that a conversation and its answer may have together.
    context_tokens: usize,
    engine: Engine,
}

impl GgufModel {
    /// Loads a model file; its weights are mapped into memory, not copied.
    ///
    /// # Errors
    /// [`Error::Core`] when the file cannot be opened, [`Error::Gguf`] when it is damaged or of a
    /// kind that llama.cpp does not know, [`Error::NoChatTemplate`], [`Error::Template`] when its
    /// template cannot be read, [`Error::Option`] for an option that cannot work, and
    /// [`Error::Engine`] when there is not enough memory.
    pub fn load(path: &Path, options: GgufOptions) -> Result<Self> {
        options.check()?;
        check_magic(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let backend = BACKEND
            .as_ref()
            .map_err(|reason| Error::Engine { action: "start", reason: reason.clone() })?;
        let unusable = |problem: String| Error::Gguf { path: path.to_owned(), problem };
        log::take_error();
        let model = LlamaModel::load_from_file(backend, path, &LlamaModelParams::default())
            .map_err(|error| {
                unusable(match error {
                    LlamaModelLoadError::NullResult => {
                        format!("{}; if it is not complete, download it again", log::take_error())
                    }
                    error => error.to_string(),
                })
            })?;
        let model = Arc::new(model);
        // Without a tokeniser llama.cpp would abort at the first text.
        if model.meta_val_str("tokenizer.ggml.model").map_or(true, |kind| kind == "no_vocab") {
            return Err(unusable("it has no tokeniser (tokenizer.ggml.model)".to_owned()));
        }
        let template = model
            .chat_template(None)
            .map_err(|_| Error::NoChatTemplate { path: path.to_owned() })?
            .to_string()
            .map_err(|error| unusable(format!("its chat template is not UTF-8: {error}")))?;
        let tokens = Arc::new(Tokens::new(model.clone()));
        let template = ChatTemplate::new(&name, template, tokens.bos_text(), tokens.eos_text())?;
        let trained_on = trained_context(&model).unwrap_or(u32::MAX);
        let context_tokens = options.context_tokens.min(trained_on).max(1);
        let cache = Cache::new(model, backend, options, context_tokens)?;
        let engine = Engine::start(cache, tokens.clone())?;
        let context_tokens = usize::try_from(context_tokens).unwrap_or(usize::MAX);
        Ok(Self { name, template, tokens, context_tokens, engine })
    }

    fn answer(
        &self,
        request: &ChatRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<ChatResponse> {
        let sampler = sampler(request.sampling)?;
        let disarmed = Disarmed::new(&request.messages, self.tokens.control());
        let rendered = self.template.render(&disarmed.messages)?;
        let prompt = self.tokens.of_pieces(&disarmed.pieces(&rendered))?;
        let prompt_tokens = prompt.len();
        let context_tokens = self.context_tokens;
        let room = context_tokens.saturating_sub(prompt_tokens);
        if room == 0 {
            return Err(Error::PromptTooLong { prompt_tokens, context_tokens });
        }
        let prompt = Prompt::new(prompt).ok_or_else(|| Error::Engine {
            action: "evaluate the conversation",
            reason: "it is empty".to_owned(),
        })?;
        let stream = TextStream::new(&request.stop);
        let limit = request.max_tokens.min(count(room));
        let (sender, events) = channel();
        let answer = Answer::new(sampler, stream, limit, count(prompt_tokens), sender);
        self.engine.submit(Request { prompt, answer });

        // `on_text` is called here and not where the text comes from: it may take its time, or
        // panic, without harm to the other conversations.
        let mut text = String::new();
        for event in events {
            match event {
                Event::Text { text: piece, usage } => {
                    text.push_str(&piece);
                    if on_text(&piece).is_break() {
                        let finish_reason = FinishReason::Cancelled;
                        return Ok(ChatResponse { text, finish_reason, usage });
                    }
                }
                Event::Finished { finish_reason, usage } => {
                    return Ok(ChatResponse { text, finish_reason, usage });
                }
                Event::Failed(error) => return Err(error),
            }
        }
        let reason = "its thread has died; load the model again".to_owned();
        Err(Error::Engine { action: "answer", reason })
    }
}

impl ChatModel for GgufModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn chat_streaming(
        &self,
        request: &ChatRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> coderag_core::Result<ChatResponse> {
        self.answer(request, on_text)
            .map_err(coderag_core::Error::component(format!("the language model {}", self.name)))
    }
}

/// Refuses what is plainly no GGUF file with words that help more than llama.cpp's.
fn check_magic(path: &Path) -> Result<()> {
    let io = |action| move |error| coderag_core::Error::io(action, path)(error);
    let mut start = Vec::new();
    File::open(path).map_err(io("open"))?.take(4).read_to_end(&mut start).map_err(io("read"))?;
    let problem = match start.as_slice() {
        b"GGUF" => return Ok(()),
        [] => "it is empty",
        _ => "it does not begin with `GGUF`; download it again",
    };
    Err(Error::Gguf { path: path.to_owned(), problem: problem.to_owned() })
}

/// Temperature first, then the nucleus, as in transformers and vLLM.
fn sampler(sampling: Sampling) -> Result<LlamaSampler> {
    let Sampling { temperature, top_p, seed } = sampling;
    if !temperature.is_finite() || temperature < 0.0 {
        let problem = format!("{temperature} is not a number from 0 up");
        return Err(Error::Option { key: "temperature", problem });
    }
    if !(top_p > 0.0 && top_p <= 1.0) {
        let problem = format!("{top_p} is not above 0 and at most 1");
        return Err(Error::Option { key: "top_p", problem });
    }
    if temperature == 0.0 {
        return Ok(LlamaSampler::greedy());
    }
    Ok(LlamaSampler::chain(
        [LlamaSampler::temp(temperature), LlamaSampler::top_p(top_p, 1), LlamaSampler::dist(seed)],
        true,
    ))
}

/// A number of tokens, which a context bounds far below `u32`.
fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

/// The length of the contexts that the model was trained on.
fn trained_context(model: &LlamaModel) -> Option<u32> {
    let architecture = model.meta_val_str("general.architecture").ok()?;
    model.meta_val_str(&format!("{architecture}.context_length")).ok()?.parse().ok()
}
