use coderag_core::{Message, Role};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, context};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::clock::strftime_now;
use crate::{Error, Result};

/// A model's own chat template: the Jinja program that turns a conversation into the text the model
/// was tuned on.
///
/// Rendered as `apply_chat_template` of Hugging Face's transformers does: with `trim_blocks` and
/// `lstrip_blocks`, Python's string methods, loop controls, `raise_exception` and `strftime_now`,
/// and with `tools` and `documents` set to none.
#[derive(Debug)]
pub(super) struct ChatTemplate {
    /// The model's name, for errors.
    name: String,
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

/// The name of the one template in the environment. It has no file extension, so nothing is escaped.
const TEMPLATE: &str = "chat";

impl ChatTemplate {
    pub(super) fn new(
        name: &str,
        source: String,
        bos_token: String,
        eos_token: String,
    ) -> Result<Self> {
        let environment = environment(source)
            .map_err(|source| Error::Template { name: name.to_owned(), source })?;
        Ok(Self { name: name.to_owned(), environment, bos_token, eos_token })
    }

    /// The conversation as text, up to where the model's next turn begins.
    ///
    /// Some templates refuse a system turn and some leave it out without a word. Its text then goes
    /// before the first user turn.
    pub(super) fn render(&self, messages: &[Message]) -> Result<String> {
        let instructions: Vec<&str> = messages
            .iter()
            .filter(|message| message.role == Role::System)
            .map(|message| message.content.trim())
            .filter(|instruction| !instruction.is_empty())
            .collect();
        let rendered = match self.render_as_is(messages) {
            Ok(text) if instructions.iter().all(|instruction| text.contains(instruction)) => {
                return Ok(text);
            }
            rendered if instructions.is_empty() => rendered,
            _ => self.render_as_is(&without_system(messages, &instructions.join("\n\n"))),
        };
        rendered.map_err(|source| Error::Template { name: self.name.clone(), source })
    }

    fn render_as_is(&self, messages: &[Message]) -> Result<String, minijinja::Error> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| {
                let role = match message.role {
                    Role::System => "system",
                    Role::User => "user",
                    Role::Assistant => "assistant",
                };
                context! { role => role, content => &message.content }
            })
            .collect();
        self.environment.get_template(TEMPLATE)?.render(context! {
            messages => messages,
            bos_token => &self.bos_token,
            eos_token => &self.eos_token,
            add_generation_prompt => true,
            tools => Value::from(()),
            documents => Value::from(()),
        })
    }
}

fn environment(source: String) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<Value, _> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| {
        strftime_now(&format).ok_or_else(|| {
            let message = format!("strftime_now does not know the format {format}");
            minijinja::Error::new(ErrorKind::InvalidOperation, message)
        })
    });
    environment.add_template_owned(TEMPLATE, source)?;
    Ok(environment)
}

/// The conversation without its system turns; their text begins the first user turn, or is one.
fn without_system(messages: &[Message], instructions: &str) -> Vec<Message> {
    let mut rest: Vec<Message> =
        messages.iter().filter(|message| message.role != Role::System).cloned().collect();
    match rest.iter_mut().find(|message| message.role == Role::User) {
        Some(first) => first.content = format!("{instructions}\n\n{}", first.content),
        None => rest.insert(0, Message::user(instructions)),
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String> {
        let token = |text: &str| text.to_owned();
        ChatTemplate::new("test", source.to_owned(), token("<s>"), token("</s>"))?.render(messages)
    }

    fn conversation() -> Vec<Message> {
        vec![
            Message::system(" Be brief.\n"),
            Message::user("Hi <there> & 'you'"),
            Message::assistant("Hello!"),
            Message::user("Bye"),
        ]
    }

    /// ChatML with a default system turn, in the manner of Qwen: whitespace control, a generation
    /// prompt, a test against none.
    const CHATML: &str = "\
{%- if tools is not none %}
    {{- raise_exception('no tools here') }}
{%- endif %}
{% if messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\\nDefault.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == 'user') or (message.role == 'system' and loop.first) or (message.role == 'assistant' and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
";

    /// Instruction brackets in the manner of Mistral v0.2: turns must alternate and begin with the
    /// user's.
    const BRACKETS: &str = "\
{{ bos_token }}{% for message in messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Turns must alternate user/assistant/user/assistant') }}\
{% endif %}\
{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}\
{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}";

    /// A system text inside the first user turn in the manner of Llama 2: slices, `set`, `trim` and
    /// `strip`, a loop over a variable, blocks on lines of their own.
    const NESTED: &str = "\
{% if messages[0]['role'] == 'system' %}
    {% set rest = messages[1:] %}
    {% set system = '<<SYS>>\\n' + messages[0]['content'].strip() + '\\n<</SYS>>\\n\\n' %}
{% else %}
    {% set rest = messages %}
    {% set system = '' %}
{% endif %}
{% for message in rest %}
    {% if loop.index0 == 0 %}
        {% set content = system + message['content'] %}
    {% else %}
        {% set content = message['content'] %}
    {% endif %}
    {% if message['role'] == 'user' %}
        {{- bos_token + '[INST] ' + content | trim + ' [/INST]' -}}
    {% elif message['role'] == 'assistant' %}
        {{- ' ' + content | trim + ' ' + eos_token -}}
    {% endif %}
{% endfor %}
";

    #[test]
    fn chatml_renders_as_in_transformers() {
        assert_eq!(
            render(CHATML, &conversation()).unwrap(),
            "<|im_start|>system\n Be brief.\n<|im_end|>\n\
             <|im_start|>user\nHi <there> & 'you'<|im_end|>\n\
             <|im_start|>assistant\nHello!<|im_end|>\n\
             <|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
        );
        assert_eq!(
            render(CHATML, &[Message::user("Hi")]).unwrap(),
            "<|im_start|>system\nDefault.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn a_system_turn_that_the_template_refuses_joins_the_first_user_turn() {
        assert_eq!(
            render(BRACKETS, &conversation()).unwrap(),
            "<s>[INST] Be brief.\n\nHi <there> & 'you' [/INST]Hello!</s>[INST] Bye [/INST]"
        );
        assert_eq!(
            render(BRACKETS, &[Message::system("Be brief.")]).unwrap(),
            "<s>[INST] Be brief. [/INST]"
        );
    }

    #[test]
    fn a_system_turn_that_the_template_leaves_out_joins_the_first_user_turn() {
        let silent = "{% for message in messages %}{% if message.role != 'system' %}{{ message.role }}: {{ message.content }}\n{% endif %}{% endfor %}";
        assert_eq!(
            render(silent, &conversation()).unwrap(),
            "user: Be brief.\n\nHi <there> & 'you'\nassistant: Hello!\nuser: Bye\n"
        );
    }

    #[test]
    fn a_template_that_nests_the_system_turn_renders_as_in_transformers() {
        assert_eq!(
            render(NESTED, &conversation()).unwrap(),
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi <there> & 'you' [/INST] Hello! </s><s>[INST] Bye [/INST]"
        );
    }

    #[test]
    fn a_refused_conversation_gives_the_templates_words() {
        let twice = [Message::user("a"), Message::user("b")];
        let error = render(BRACKETS, &twice).unwrap_err();
        assert_eq!(error.to_string(), "the chat template of test failed");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("Turns must alternate"), "{cause}");
    }

    #[test]
    fn a_template_with_a_syntax_error_is_refused_when_it_is_read() {
        assert!(matches!(render("{% if %}", &[]), Err(Error::Template { .. })));
    }

    #[test]
    fn todays_date_is_available() {
        let year: u32 = render("{{ strftime_now('%Y') }}", &[]).unwrap().parse().unwrap();
        assert!(year >= 2025);
        assert!(render("{{ strftime_now('%Q') }}", &[]).is_err());
    }
}
