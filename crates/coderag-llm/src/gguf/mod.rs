//! Runs GGUF model files in this process with llama.cpp.

mod clock;
mod literal;
mod log;
mod options;
mod session;
mod template;
mod text;
mod tokens;

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use coderag_core::{ChatModel, ChatRequest, ChatResponse, FinishReason, Sampling, Usage};
use llama_cpp_2::LlamaModelLoadError;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;

pub use self::options::GgufOptions;

use self::literal::Disarmed;
use self::session::Session;
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
/// Requests run one after another. What a conversation has in common with the one before it, from
/// its first token on, is not evaluated again.
#[derive(Debug)]
pub struct GgufModel {
    name: String,
    template: ChatTemplate,
    tokens: Tokens,
    session: Mutex<Session>,
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
        let tokens = Tokens::new(model.clone());
        let template = ChatTemplate::new(&name, template, tokens.bos_text(), tokens.eos_text())?;
        let session = Session::new(model, backend, options)?;
        Ok(Self { name, template, tokens, session: Mutex::new(session) })
    }

    fn answer(
        &self,
        request: &ChatRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<ChatResponse> {
        let mut sampler = sampler(request.sampling)?;
        let disarmed = Disarmed::new(&request.messages, self.tokens.control());
        let rendered = self.template.render(&disarmed.messages)?;
        let prompt = self.tokens.of_pieces(&disarmed.pieces(&rendered))?;

        // A receiver that panicked has left the session whole: it is called between two steps.
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let context_tokens = session.context_tokens();
        let room = context_tokens.saturating_sub(prompt.len());
        if room == 0 {
            return Err(Error::PromptTooLong { prompt_tokens: prompt.len(), context_tokens });
        }
        let cached = session.evaluate_prompt(&prompt)?;
        let mut usage = Usage {
            prompt_tokens: count(prompt.len()),
            cached_tokens: count(cached),
            completion_tokens: 0,
        };

        let mut stream = TextStream::new(&request.stop);
        let mut text = String::new();
        let mut show = |piece: &str| {
            if piece.is_empty() {
                return ControlFlow::Continue(());
            }
            text.push_str(piece);
            on_text(piece)
        };
        let limit = request.max_tokens.min(count(room));
        let finish_reason = loop {
            if usage.completion_tokens == limit {
                break FinishReason::Length;
            }
            let token = session.sample(&mut sampler);
            if self.tokens.ends_turn(token) {
                break FinishReason::Stop;
            }
            usage.completion_tokens += 1;
            let addition = stream.push(&self.tokens.bytes(token));
            if show(&addition.text).is_break() {
                break FinishReason::Cancelled;
            }
            if addition.stopped {
                break FinishReason::Stop;
            }
            if usage.completion_tokens < limit {
                session.evaluate(&[token])?;
            }
        };
        let finish_reason = match finish_reason {
            FinishReason::Cancelled => FinishReason::Cancelled,
            _ if show(&stream.finish()).is_break() => FinishReason::Cancelled,
            finish_reason => finish_reason,
        };
        Ok(ChatResponse { text, finish_reason, usage })
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
