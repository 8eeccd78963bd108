use burn::tensor::DType;
use coderag_core::Embeddings;
use coderag_train::loss::{
    BatchStatistics, Guide, KlDivergence, Loss, LossBatch, MarginMse, MultipleNegativesRanking,
    Similarity,
};

use crate::{Backend, loss, vectors};

fn refusal(settings: &str) -> String {
    let parsed = coderag_core::config::parse::<Loss>(settings, "train.toml");
    parsed.unwrap_err().to_string()
}

#[test]
fn a_loss_that_is_only_named_has_the_defaults() {
    let ranking = Loss::MultipleNegativesRanking(MultipleNegativesRanking::default());
    assert_eq!(loss("name = 'multiple_negatives_ranking'"), ranking);
    assert_eq!(loss("name = 'margin_mse'"), Loss::MarginMse(MarginMse::default()));
    assert_eq!(loss("name = 'kl_divergence'"), Loss::KlDivergence(KlDivergence::default()));
}

#[test]
fn what_is_written_is_read_back() {
    for settings in [
        "name = 'multiple_negatives_ranking'",
        "name = 'multiple_negatives_ranking'\ntemperature = 0.02\nsimilarity = 'dot'\n\
         directions = ['anchor_to_document', 'anchor_to_anchor']\n\
         hardness = { mode = 'hard_negatives', strength = 5.0 }\n\
         false_negatives = { strategy = 'relative', margin = 0.05 }",
        "name = 'margin_mse'\nsimilarity = 'cosine'",
        "name = 'kl_divergence'\ntemperature = 2.0\nteacher_temperature = 0.5",
        "name = 'matryoshka'\ndimensions = [8, 4]\nweights = [1, 0.5]\ndimensions_per_step = 1\n\
         loss = { name = 'margin_mse' }",
    ] {
        let loss = loss(settings);
        let written = serde_json::to_string(&loss).unwrap();
        assert_eq!(serde_json::from_str::<Loss>(&written).unwrap(), loss, "{written}");
    }
}

#[test]
fn a_key_that_is_not_known_is_refused_with_the_nearest() {
    let message = refusal("name = 'multiple_negatives_ranking'\nscales = 20\n");
    assert!(message.contains("unknown key `scales`; did you mean `scale`?"), "{message}");
    let message = refusal("name = 'margin_mse'\ntemperature = 1.0\n");
    assert!(message.contains("unknown key `temperature`"), "{message}");
    let inner = "name = 'matryoshka'\ndimensions = [4]\nloss = { name = 'kl_divergence', temprature = 1.0 }\n";
    assert!(refusal(inner).contains("did you mean `temperature`?"), "{}", refusal(inner));
    let message = refusal("name = 'multiple_negative_ranking'\n");
    assert!(message.contains("multiple_negatives_ranking"), "{message}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (settings, expected) in [
        ("scale = 20\ntemperature = 0.05", "its inverse"),
        ("scale = 0.0", "`scale` must be"),
        ("temperature = 0.0", "`temperature` must be"),
        ("temperature = -1.0", "`temperature` must be"),
        ("directions = ['document_to_anchor']", "lacks `anchor_to_document`"),
        ("directions = ['anchor_to_document', 'anchor_to_document']", "twice"),
        (
            "directions = ['anchor_to_document', 'anchor_to_anchor']\npartition = 'per_direction'",
            "use `joint`",
        ),
        ("hardness = { mode = 'all_negatives', strength = -1.0 }", "`strength`"),
        ("false_negatives = { strategy = 'absolute', margin = nan }", "`margin`"),
    ] {
        let message = refusal(&format!("name = 'multiple_negatives_ranking'\n{settings}\n"));
        assert!(message.contains(expected), "{settings}: {message}");
    }
    assert!(refusal("name = 'kl_divergence'\ntemperature = 0.0").contains("over 0"));
    for (settings, expected) in [
        ("dimensions = []", "at least one"),
        ("dimensions = [8, 0]", "over 0"),
        ("dimensions = [8, 4]\nweights = [1.0]", "`weights` has 1 numbers"),
        ("dimensions = [8]\ndimensions_per_step = 0", "at least 1"),
    ] {
        let message = refusal(&format!(
            "name = 'matryoshka'\nloss = {{ name = 'margin_mse' }}\n{settings}\n"
        ));
        assert!(message.contains(expected), "{settings}: {message}");
    }
    let nested = "name = 'matryoshka'\ndimensions = [8]\n[loss]\nname = 'matryoshka'\ndimensions = [4]\n\
                  [loss.loss]\nname = 'margin_mse'\n";
    assert!(refusal(nested).contains("matryoshka loss again"));
}

#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let refusal = |settings: &str, batch: &LossBatch, texts: usize| {
        let vectors = vectors(&vec![1.0; texts * 4], 4, DType::F32);
        let result = loss(settings).value_and_gradient::<Backend>(vectors, batch, 8);
        result.map(|result| result.value).unwrap_err().to_string()
    };
    let pairs = LossBatch::new(2, Vec::new()).unwrap();
    let triplets = LossBatch::new(2, vec![0, 1]).unwrap();
    let ranking = "name = 'multiple_negatives_ranking'";
    assert!(refusal(ranking, &pairs, 5).contains("5 vectors, and the batch has 4"));
    assert!(refusal("name = 'margin_mse'", &pairs, 4).contains("no negatives"));
    assert!(refusal("name = 'kl_divergence'", &triplets, 6).contains("teacher"));
    let matryoshka = format!("name = 'matryoshka'\ndimensions = [5]\nloss = {{ {ranking} }}");
    assert!(refusal(&matryoshka, &pairs, 4).contains("they have 4"));
    let guided = pairs.clone().with_guide(Guide::Scores(vec![0.0; 4])).unwrap();
    let all = format!(
        "{ranking}\nfalse_negatives = {{ strategy = 'absolute', margin = 0.0 }}\n\
         directions = ['anchor_to_document', 'anchor_to_anchor']"
    );
    assert!(refusal(&all, &guided, 4).contains("give its vectors"));
    let guide = Embeddings::new(2, vec![0.5; 8]).unwrap();
    let guided = pairs.clone().with_guide(Guide::Embeddings(guide)).unwrap();
    let four = vectors(&[1.0, 0.5, -1.0, 2.0, 0.1, 0.2, 0.3, 0.4], 2, DType::F32);
    assert!(loss(&all).value_and_gradient::<Backend>(four, &guided, 8).is_ok());
}

#[test]
fn statistics_leave_out_anchors_without_negatives() {
    let values = [1.0, 0.0, 0.0, 1.0, 1.0, 0.2, 0.9, 0.1];
    let of = |batch: &LossBatch| {
        let vectors = vectors(&values, 2, DType::F32);
        BatchStatistics::of(vectors, batch, Similarity::Cosine, 8).unwrap()
    };
    let batch = LossBatch::new(2, Vec::new()).unwrap();
    let statistics = of(&batch).unwrap();
    assert_eq!((statistics.anchors, statistics.accuracy), (2, 0.0));
    // With equal positives neither document is the other anchor's negative.
    assert_eq!(of(&batch.with_texts(&["a", "b", "c", "c"]).unwrap()), None);
}
