//! What a card does that has too little memory. In a process of its own, because the card's memory is the process's.
#![allow(clippy::unwrap_used)]

use coderag_encoder::card::{CardEngine, CardOptions};
use coderag_encoder::device::CudaCard;
use coderag_encoder::engine::Trainable;
use coderag_encoder::{Architecture, Pooling};

#[test]
fn too_large_a_batch_says_what_to_do_and_a_smaller_one_goes_on() {
    let software = coderag_software_card::install().unwrap();
    let fixture =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/small-bert");
    let architecture = Architecture::read(&fixture.join("config.json")).unwrap();
    let weights = fixture.join("model.safetensors");
    let load = |recompute| {
        let card = CudaCard::open(0).unwrap();
        let options = CardOptions { recompute, ..CardOptions::default() };
        let trainable = Some(Trainable::Everything);
        CardEngine::load(&card, &weights, &architecture, Pooling::Mean, trainable, options).unwrap()
    };
    let sequence = [7; 40];
    let many = vec![&sequence[..]; 30];
    let mut engine = load(false);
    let loaded = software.memory_in_use();
    let step = |engine: &mut CardEngine, sequences: &[&[u32]]| {
        let vectors = engine.forward(sequences)?;
        engine.backward(&vectors)
    };
    step(&mut engine, &many).unwrap();
    let everything = software.most_memory_in_use() - loaded;
    // Nothing more is needed for the same again.
    step(&mut engine, &many).unwrap();
    assert_eq!(software.most_memory_in_use() - loaded, everything);
    drop(engine);
    assert_eq!(software.memory_in_use(), 0);

    // Room for the parameters and half of what the batch needs.
    software.set_memory(loaded + everything / 2);
    let mut engine = load(false);
    let refused = step(&mut engine, &many).unwrap_err().to_string();
    for part in ["cannot use cuda:0", "no room for", "`texts_at_once`", "gradient_checkpointing"] {
        assert!(refused.contains(part), "{refused}");
    }
    step(&mut engine, &many[..5]).unwrap();
    drop(engine);
    // A forward pass that keeps less has room.
    software.set_memory(loaded + everything * 9 / 10);
    step(&mut load(true), &many).unwrap();
}
