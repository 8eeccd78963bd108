//! What batches hold, compared with sentence-transformers' and with their own definition.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ops::Range;

use coderag_train::Error;
use coderag_train::data::{LastBatch, Order, Rows, Sampler, SamplerSettings, SamplerState};
use proptest::prelude::*;
use serde::Deserialize;

/// Rows in memory: fingerprints and lengths.
#[derive(Clone, Debug)]
struct Table {
    sources: Vec<usize>,
    texts: Vec<Vec<u64>>,
    characters: Vec<u32>,
}

impl Table {
    /// Rows whose texts all differ.
    fn distinct(sources: &[usize]) -> Self {
        let rows = sources.iter().sum::<usize>() as u64;
        Self {
            sources: sources.to_vec(),
            texts: (0..rows).map(|row| vec![2 * row, 2 * row + 1]).collect(),
            characters: (0..rows).map(|row| (row * 7919 % 1000) as u32).collect(),
        }
    }

    fn ranges(&self) -> Vec<Range<usize>> {
        let mut first = 0;
        let range = |rows: &usize| {
            first += rows;
            first - rows..first
        };
        self.sources.iter().map(range).collect()
    }

    /// Whether one of a row's texts would be a false negative beside another row, word for word as the
    /// settings' documentation has it.
    fn clash(&self, row: usize, other: usize) -> bool {
        let (row, other) = (&self.texts[row], &self.texts[other]);
        let found = |text: &u64, among: &[u64]| among.contains(text);
        row[..2].iter().any(|text| found(text, other))
            || other[..2].iter().any(|text| found(text, row))
    }
}

impl Rows for Table {
    fn sources(&self) -> Vec<usize> {
        self.sources.clone()
    }

    fn fingerprints(&self, row: usize, fingerprints: &mut Vec<u64>) {
        fingerprints.clone_from(&self.texts[row]);
    }

    fn characters(&self, row: usize) -> u32 {
        self.characters[row]
    }
}

/// Sources with rows of random texts, of which there are few, so that many clash.
fn table() -> impl Strategy<Value = Table> {
    (prop::collection::vec(1_usize..50, 1..4), 1_u64..300).prop_flat_map(|(sources, texts)| {
        let rows: usize = sources.iter().sum();
        let row = prop::collection::vec(0..texts, 2..5);
        (Just(sources), prop::collection::vec(row, rows), prop::collection::vec(0_u32..100, rows))
            .prop_map(|(sources, texts, characters)| Table { sources, texts, characters })
    })
}

fn settings() -> impl Strategy<Value = SamplerSettings> {
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (1_usize..12, any::<u64>(), 0_usize..4, switches).prop_map(
        |(batch_size, seed, length_window, (in_file_order, same_source, no_duplicates, keep))| {
            SamplerSettings {
                batch_size,
                seed,
                order: if in_file_order { Order::File } else { Order::Shuffled },
                same_source_per_batch: same_source,
                no_duplicates,
                length_window: if in_file_order { 0 } else { length_window },
                last_batch: if keep { LastBatch::Keep } else { LastBatch::Drop },
                temperature: 1.0,
            }
        },
    )
}

fn sampler<'a>(table: &'a Table, settings: &SamplerSettings) -> Sampler<&'a Table> {
    Sampler::new(table, settings.clone(), &vec![None; table.sources.len()]).unwrap()
}

/// Whether a source is too small for a batch of its own, which is refused.
fn too_small(table: &Table, settings: &SamplerSettings) -> bool {
    settings.same_source_per_batch
        && settings.last_batch == LastBatch::Drop
        && table.sources.iter().any(|rows| *rows < settings.batch_size)
}

/// The next batches, up to the first error.
fn draw(sampler: &mut Sampler<&Table>, batches: usize) -> Vec<(u64, Vec<usize>)> {
    let draw = |_| sampler.next_batch().ok().map(|batch| (batch.epoch, batch.rows));
    (0..batches).map_while(draw).collect()
}

/// The batches of the first epochs; none when an epoch has no batch.
fn epochs(table: &Table, settings: &SamplerSettings, epochs: u64) -> Vec<(u64, Vec<usize>)> {
    if too_small(table, settings) {
        return Vec::new();
    }
    let sampler = &mut sampler(table, settings);
    let batches = sampler.count_batches(epochs) as usize;
    draw(sampler, batches)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_row_comes_once_an_epoch(table in table(), mut settings in settings()) {
        settings.last_batch = LastBatch::Keep;
        let batches = epochs(&table, &settings, 3);
        for epoch in 0..3 {
            let mut rows: Vec<usize> = batches
                .iter()
                .filter(|(number, _)| *number == epoch)
                .flat_map(|(_, rows)| rows.clone())
                .collect();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..table.texts.len()).collect::<Vec<_>>());
        }
        prop_assert!(batches.iter().all(|(_, rows)| (1..=settings.batch_size).contains(&rows.len())));
    }

    #[test]
    fn without_smaller_batches_all_are_full_and_no_row_comes_twice(
        table in table(),
        mut settings in settings(),
    ) {
        settings.last_batch = LastBatch::Drop;
        let batches = epochs(&table, &settings, 2);
        for epoch in 0..2 {
            let of_epoch = batches.iter().filter(|(number, _)| *number == epoch);
            let rows: Vec<usize> = of_epoch.flat_map(|(_, rows)| rows.clone()).collect();
            prop_assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len());
            if !settings.no_duplicates {
                let lost = table.texts.len() - rows.len();
                let lanes = if settings.same_source_per_batch { table.sources.len() } else { 1 };
                prop_assert!(batches.is_empty() || lost <= lanes * (settings.batch_size - 1));
            }
        }
        prop_assert!(batches.iter().all(|(_, rows)| rows.len() == settings.batch_size));
    }

    #[test]
    fn no_text_of_a_batch_is_a_false_negative(table in table(), mut settings in settings()) {
        settings.no_duplicates = true;
        for (_, rows) in epochs(&table, &settings, 2) {
            for (place, row) in rows.iter().enumerate() {
                for other in &rows[place + 1..] {
                    prop_assert!(!table.clash(*row, *other), "{row} and {other} in {rows:?}");
                }
            }
        }
    }

    #[test]
    fn a_batch_is_of_one_source_where_it_should_be(table in table(), mut settings in settings()) {
        settings.same_source_per_batch = true;
        for (_, rows) in epochs(&table, &settings, 2) {
            let of_all = |source: Range<usize>| rows.iter().all(|row| source.contains(row));
            prop_assert!(table.ranges().into_iter().any(of_all), "{rows:?}");
        }
    }

    #[test]
    fn a_resumed_sampler_draws_what_an_uninterrupted_one_draws(
        table in table(),
        settings in settings(),
        steps in 0_usize..60,
    ) {
        prop_assume!(!too_small(&table, &settings));
        let uninterrupted = &mut sampler(&table, &settings);
        if draw(uninterrupted, steps).len() == steps {
            let state = serde_json::to_string(&uninterrupted.state()).unwrap();
            let state: SamplerState = serde_json::from_str(&state).unwrap();
            let weights = vec![None; table.sources.len()];
            let resumed = &mut Sampler::resume(&table, settings, &weights, &state).unwrap();
            prop_assert_eq!(resumed.state(), state);
            prop_assert_eq!(draw(resumed, 40), draw(uninterrupted, 40));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_batches(table in table(), settings in settings()) {
        prop_assert_eq!(epochs(&table, &settings, 2), epochs(&table, &settings, 2));
    }

    #[test]
    fn batches_of_any_weights_resume(
        table in table(),
        settings in settings(),
        temperature in 0.3_f64..5.0,
        steps in 0_usize..60,
    ) {
        let settings = SamplerSettings { order: Order::Shuffled, temperature, ..settings };
        let weights = vec![None; table.sources.len()];
        // A source may be too small to be drawn from at all, which is an error of its own.
        if let Ok(mut uninterrupted) = Sampler::new(&table, settings.clone(), &weights)
            && draw(&mut uninterrupted, steps).len() == steps
        {
            let state = uninterrupted.state();
            let resumed = &mut Sampler::resume(&table, settings, &weights, &state).unwrap();
            prop_assert_eq!(draw(resumed, 40), draw(&mut uninterrupted, 40));
        }
    }
}

#[test]
fn other_seeds_and_other_epochs_have_other_orders() {
    let table = Table::distinct(&[64, 32]);
    let order = |seed, epoch| -> Vec<usize> {
        let settings = SamplerSettings { seed, batch_size: 8, ..SamplerSettings::default() };
        let batches = epochs(&table, &settings, 2).into_iter();
        batches.filter(|(number, _)| *number == epoch).flat_map(|(_, rows)| rows).collect()
    };
    let orders = BTreeSet::from([order(0, 0), order(0, 1), order(1, 0), order(1, 1)]);
    assert_eq!(orders.len(), 4);
    // Each of the 96 rows comes in any twelfth of the epoch: nothing stays near its place in the file.
    let mean_move =
        |order: &[usize]| (0..).zip(order).map(|(place, row)| row.abs_diff(place)).sum::<usize>();
    assert!(orders.iter().all(|order| mean_move(order) / 96 > 20));
}

#[test]
fn in_file_order_step_i_takes_the_rows_from_i_times_the_batch_on() {
    let table = Table::distinct(&[30, 34]);
    let settings =
        SamplerSettings { order: Order::File, batch_size: 10, ..SamplerSettings::default() };
    let drawn = draw(&mut sampler(&table, &settings), 13);
    for (step, (epoch, rows)) in drawn.iter().enumerate() {
        let first = step % 6 * 10;
        assert_eq!((*epoch, rows.clone()), (step as u64 / 6, (first..first + 10).collect()));
    }
    let apart = SamplerSettings { same_source_per_batch: true, ..settings };
    let starts: Vec<usize> = epochs(&table, &apart, 1).iter().map(|(_, rows)| rows[0]).collect();
    assert_eq!(starts, [0, 10, 20, 30, 40, 50]);
}

#[test]
fn sources_are_drawn_from_by_their_weights_and_evenly_over_the_epoch() {
    let table = Table::distinct(&[9000, 1000]);
    let settings = SamplerSettings { batch_size: 10, seed: 3, ..SamplerSettings::default() };
    let mut sampler = Sampler::new(&table, settings, &[Some(1.0), Some(3.0)]).unwrap();
    let batches = draw(&mut sampler, 1000);
    assert!(batches.iter().all(|(epoch, _)| *epoch == 0));
    let of_second = |batches: &[(u64, Vec<usize>)]| {
        batches.iter().flat_map(|(_, rows)| rows).filter(|row| **row >= 9000).count()
    };
    // In an epoch exactly; rows of the small source that met themselves in a batch were put off only.
    assert_eq!(of_second(&batches), 7500);
    for tenth in batches.chunks(100) {
        // 750 expected with a standard deviation below sqrt(1000 * 3/4 * 1/4) = 13.7; five of them.
        assert!(of_second(tenth).abs_diff(750) < 69, "{}", of_second(tenth));
    }
    let mut times = vec![0; 10_000];
    batches.iter().flat_map(|(_, rows)| rows).for_each(|row| times[*row] += 1);
    // 7.5 passes over the small source, a part of one over the large.
    assert!(times[9000..].iter().all(|times| (7..=8).contains(times)));
    assert!(times[..9000].iter().all(|times| *times <= 1));
    // The second epoch goes on where the first ended: after it the small source has had 15 whole passes.
    draw(&mut sampler, 1000).iter().flat_map(|(_, rows)| rows).for_each(|row| times[*row] += 1);
    assert!(times[9000..].iter().all(|times| *times == 15));
}

#[test]
fn batches_of_one_source_are_chosen_by_its_share() {
    let table = Table::distinct(&[6000, 2000]);
    let settings = SamplerSettings {
        batch_size: 10,
        seed: 1,
        same_source_per_batch: true,
        ..SamplerSettings::default()
    };
    let batches = epochs(&table, &settings, 1);
    assert_eq!(batches.len(), 800);
    for quarter in batches.chunks(200) {
        let second = quarter.iter().filter(|(_, rows)| rows[0] >= 6000).count();
        // 50 expected with a standard deviation below sqrt(200 * 3/4 * 1/4) = 6.1; five of them.
        assert!(second.abs_diff(50) < 31, "{second}");
    }
}

#[test]
fn a_length_window_puts_rows_of_similar_length_together() {
    let table = Table::distinct(&[2000]);
    let plain = SamplerSettings { batch_size: 10, ..SamplerSettings::default() };
    let sorted = SamplerSettings { length_window: 20, ..plain.clone() };
    let longest = |rows: &[usize]| rows.iter().map(|row| table.characters[*row]).max().unwrap();
    let padded = |settings: &SamplerSettings| -> u32 {
        epochs(&table, settings, 1).iter().map(|(_, rows)| 10 * longest(rows)).sum()
    };
    let characters: u32 = table.characters.iter().sum();
    // Uniform lengths: ten rows are padded to 10/11 of the range, and to little more than their own mean
    // when they are neighbours among 200.
    assert!(padded(&plain) > characters * 17 / 10, "{} {characters}", padded(&plain));
    assert!(padded(&sorted) < characters * 11 / 10, "{} {characters}", padded(&sorted));
    // Batches do not come from short to long.
    let lengths: Vec<u32> =
        epochs(&table, &sorted, 1).iter().map(|(_, rows)| longest(rows)).collect();
    let rising = lengths.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((60..140).contains(&rising), "{rising} of 199");
}

#[derive(Deserialize)]
struct Reference {
    no_duplicates: Vec<Case>,
    shuffles: Vec<Shuffle>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    batch_size: usize,
    rows: Vec<Vec<serde_json::Value>>,
    batches: Vec<Vec<usize>>,
}

#[derive(Deserialize)]
struct Shuffle {
    seed: u64,
    epoch: u64,
    order: Vec<usize>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("fixtures/batches.json")).unwrap()
}

impl Case {
    /// The batches that we make of the rows in their order. Texts go through a store, as in a run.
    fn ours(&self, last_batch: LastBatch) -> Vec<Vec<usize>> {
        use coderag_train::data::{OnBadRow, Source, Store};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let line = |row: &Vec<serde_json::Value>| {
            let negatives = row.get(2).unwrap_or(&serde_json::Value::Null);
            let row = serde_json::json!({
                "anchor": row[0], "positive": row[1], "negatives": negatives,
            });
            format!("{row}\n")
        };
        std::fs::write(&path, self.rows.iter().map(line).collect::<String>()).unwrap();
        let sources = [Source::of_file(&path)];
        let target = folder.path().join("store");
        let store = Store::build(&target, &sources, OnBadRow::Fail, &coderag_core::Silent).unwrap();
        let settings = SamplerSettings {
            batch_size: self.batch_size,
            order: Order::File,
            last_batch,
            ..SamplerSettings::default()
        };
        let mut sampler = Sampler::new(&store, settings, &[None]).unwrap();
        let batches = sampler.count_batches(1);
        (0..batches).map(|_| sampler.next_batch().unwrap().rows).collect()
    }
}

#[test]
fn batches_without_duplicates_are_those_of_sentence_transformers() {
    let reference = reference();
    let (same, _) = reference.no_duplicates.split_at(5);
    for case in same {
        assert_eq!(case.ours(LastBatch::Keep), case.batches, "{}", case.name);
        // Without smaller batches an epoch ends where they begin.
        let full: Vec<_> =
            case.batches.iter().take_while(|rows| rows.len() == case.batch_size).cloned().collect();
        assert_eq!(case.ours(LastBatch::Drop), full, "{}", case.name);
    }
}

#[test]
fn our_rule_against_duplicates_differs_from_sentence_transformers_in_three_cases() {
    let reference = reference();
    let [white_space, list, shared] = &reference.no_duplicates[5..] else { panic!("three cases") };
    // Stricter: anchors that differ in white space alone are equal.
    assert_eq!(white_space.batches, [[0, 1]]);
    assert_eq!(white_space.ours(LastBatch::Keep), [[0], [1]]);
    // Stricter: the texts of a list are compared one by one, not the list as one text.
    assert_eq!(list.batches, [[0, 1]]);
    assert_eq!(list.ours(LastBatch::Keep), [[0], [1]]);
    // Laxer: two rows may share a negative, which is wrong for neither.
    assert_eq!(shared.batches, [[0], [1]]);
    assert_eq!(shared.ours(LastBatch::Keep), [[0, 1]]);
}

#[test]
fn shuffles_are_those_of_a_second_implementation() {
    for Shuffle { seed, epoch, order } in reference().shuffles {
        let table = Table::distinct(&[order.len()]);
        let settings = SamplerSettings { batch_size: 10, seed, ..SamplerSettings::default() };
        let drawn = epochs(&table, &settings, epoch + 1);
        let of_epoch = drawn.into_iter().filter(|(number, _)| *number == epoch);
        assert_eq!(of_epoch.flat_map(|(_, rows)| rows).collect::<Vec<_>>(), order);
    }
}

#[test]
fn too_few_different_texts_are_an_error_or_give_smaller_batches() {
    let mut table = Table::distinct(&[100]);
    table.texts.iter_mut().enumerate().for_each(|(row, texts)| texts[1] = 1000 + row as u64 % 5);
    let settings = SamplerSettings { batch_size: 8, ..SamplerSettings::default() };
    let error = sampler(&table, &settings).next_batch().unwrap_err();
    assert!(matches!(error, Error::NoBatch { batch_size: 8, rows: 100, largest: 5 }), "{error}");
    let kept = SamplerSettings { last_batch: LastBatch::Keep, ..settings };
    assert!(epochs(&table, &kept, 1).iter().all(|(_, rows)| rows.len() <= 5));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let table = Table::distinct(&[10, 10]);
    let refusal = |settings: SamplerSettings, weights: &[Option<f64>]| {
        Sampler::new(&table, settings, weights).unwrap_err().to_string()
    };
    let plain = SamplerSettings::default;
    let none = [None, None];
    let zero = SamplerSettings { batch_size: 0, ..plain() };
    assert_eq!(refusal(zero, &none), "`batch_size`: must be at least 1");
    assert!(refusal(plain(), &[Some(1.0), None]).contains("all one or none"));
    assert!(refusal(plain(), &[Some(1.0), Some(f64::NAN)]).contains("above 0"));
    assert!(refusal(plain(), &[Some(1.0)]).contains("1 weights for 2 sources"));
    let hot = SamplerSettings { temperature: 2.0, ..plain() };
    assert!(refusal(hot, &[Some(1.0), Some(2.0)]).starts_with("`temperature`"));
    let file = SamplerSettings { order: Order::File, ..plain() };
    assert!(refusal(file.clone(), &[Some(1.0), Some(2.0)]).starts_with("`order`"));
    let sorted = SamplerSettings { length_window: 4, ..file };
    assert!(refusal(sorted, &none).contains("length_window"));
    let small = SamplerSettings {
        batch_size: 11,
        same_source_per_batch: true,
        ..SamplerSettings::default()
    };
    assert!(refusal(small, &none).contains("source 1 gives 10 examples an epoch, too few"));
}

#[test]
fn a_run_does_not_go_on_with_other_batches() {
    let table = Table::distinct(&[100]);
    let settings = SamplerSettings { batch_size: 8, ..SamplerSettings::default() };
    let mut begun = sampler(&table, &settings);
    draw(&mut begun, 3);
    let refusal = |table: &Table, settings: SamplerSettings, state: &SamplerState| {
        Sampler::resume(table, settings, &[None], state).unwrap_err().to_string()
    };
    let other = SamplerSettings { batch_size: 16, seed: 1, ..settings.clone() };
    let message = refusal(&table, other, &begun.state());
    assert!(message.contains("`batch_size` was 8 and is 16, `seed` was 0 and is 1"), "{message}");
    let message = refusal(&Table::distinct(&[90]), settings.clone(), &begun.state());
    assert!(message.contains("draws [90] rows of the sources and drew [100]"), "{message}");
    let beyond = SamplerState { batch: 99, ..begun.state() };
    assert!(refusal(&table, settings, &beyond).contains("epoch 0 has 12 batches"));
}
