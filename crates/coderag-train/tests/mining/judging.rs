//! A language model that says which negatives are right answers.

use std::ops::ControlFlow;

use coderag_core::{
    ChatModel, ChatRequest, ChatResponse, Error, FinishReason, Role, Silent, Usage,
};
use coderag_train::mining::{Judged, MiningSettings, PROMPT, judge};

use crate::collection::{Collection, negatives};

/// Says what a function of the question says.
struct Model<F>(F);

impl<F: Fn(&str) -> Result<&'static str, String> + Send + Sync> ChatModel for Model<F> {
    fn name(&self) -> &str {
        "judge"
    }

    fn chat_streaming(
        &self,
        request: &ChatRequest,
        _: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> coderag_core::Result<ChatResponse> {
        assert_eq!(request.sampling.temperature, 0.0);
        let [system, question] = &request.messages[..] else { panic!("{request:?}") };
        assert_eq!((system.role, system.content.as_str()), (Role::System, PROMPT));
        let text = (self.0)(&question.content).map_err(Error::component("the model"))?.to_owned();
        Ok(ChatResponse { text, finish_reason: FinishReason::Stop, usage: Usage::default() })
    }
}

fn vector(text: &str) -> Vec<f32> {
    let angle = text.len() as f32 / 10.0;
    vec![angle.cos(), angle.sin()]
}

const PAIRS: [(&str, &str); 3] = [("q1", "right"), ("q2", "also good"), ("q3", "nonsense here")];

#[test]
fn what_is_taken_for_a_right_answer_is_dropped_and_counted() {
    let collection = Collection::new(&PAIRS, &vector);
    let pairs = collection.pairs(&["say yes to everything"]);
    let settings =
        MiningSettings { negatives: 3, relative_margin: None, ..MiningSettings::default() };
    let mut mined = collection.mine(&pairs, &settings);
    let before = negatives(&pairs, &mined, "q2").len();
    let model = Model(|question: &str| {
        let document = question.split("----- document\n").nth(1).unwrap();
        Ok(match document.split("\n-----").next().unwrap() {
            "right" => "Yes.",
            "nonsense here" => "maybe",
            _ => "no",
        })
    });
    let judged = judge(&pairs, &mut mined, &model, &Silent).unwrap();
    assert_eq!(judged, Judged { asked: 9, answers: 2, unclear: 2 });
    let after = negatives(&pairs, &mined, "q2");
    assert_eq!((before, after.len()), (3, 2));
    assert!(!after.contains(&"right") && after.contains(&"nonsense here"), "{after:?}");
    assert!(negatives(&pairs, &mined, "q1").contains(&"also good"));
}

#[test]
fn a_model_that_fails_ends_the_run() {
    let collection = Collection::new(&PAIRS, &vector);
    let pairs = collection.pairs(&[]);
    let settings = MiningSettings { relative_margin: None, ..MiningSettings::default() };
    let mut mined = collection.mine(&pairs, &settings);
    let model = Model(|_: &str| Err("out of order".to_owned()));
    let refused = judge(&pairs, &mut mined, &model, &Silent).unwrap_err().to_string();
    assert!(refused.contains("the model"), "{refused}");
}
