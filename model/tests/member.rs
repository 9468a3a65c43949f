//! A member of a federation that trains a BLIP3o: its data as the checkpoint reads them, its steps,
//! its answers. The checkpoint is the small random one of `parity`.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use witan_adapter::tensor_files::TensorFiles;
use witan_adapter::tensors::{Weights, encode, read_weights};
use witan_adapter::{Adapter, LoraConfig};
use witan_data::tokenizer::TextTokenizer;
use witan_data::vqa_v2::Split;
use witan_data::{AnswerType, Dataset, Picture, VqaExample, captions, image_file};
use witan_model::families::blip3o::pixels::PixelBounds;
use witan_model::families::blip3o::tower::Tower;
use witan_model::families::blip3o::{Blip3o, Blip3oConfig, Reader, Shard, Targets, prompt};
use witan_model::families::language::Activations;
use witan_model::{Device, Schedule, TrainError, TrainPlan, Trained, train};

#[test]
fn a_member_learns_to_answer_and_to_draw_the_same_bits_each_time() {
    let (_folder, data) = data();
    let rounds = [(); 2].map(|()| {
        let mut blip3o = blip3o();
        let (_shelf, targets) = targets(&data);
        let shard = Shard::encode(&blip3o, &reader(), &data, Some(targets)).unwrap();
        assert_eq!((shard.example_count(), shard.undrawable_count()), (4, 0));
        round(&mut blip3o, &shard, &plan(40)).unwrap()
    });
    let [(trained, losses), (again, _)] = rounds;
    assert_eq!((trained.steps, trained.examples), (40, 40 * 4));
    let fell = |losses: Vec<f32>| {
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        mean(&losses[30..]) / mean(&losses[..10])
    };
    let [answers, drawings] = losses;
    assert!(fell(answers.clone()) < 0.8, "{answers:?}");
    assert!(fell(drawings.clone()) < 0.98, "{drawings:?}");
    assert!(trained.adapter.to_bytes() == again.adapter.to_bytes());
}

#[test]
fn a_member_sees_and_is_asked_about_the_whole_picture_in_its_file() {
    let (_folder, data) = data();
    let whole = image_file::decode(&fs::read(pinned().join("picture.png")).unwrap()).unwrap();
    assert_eq!(data.pictures[0].whole().unwrap(), whole);
    let reader = reader();
    let ask = |data: &Dataset| {
        let mut blip3o = blip3o();
        let shard = Shard::encode(&blip3o, &reader, data, None).unwrap();
        (0..2).for_each(|at| drop(shard.answer(&blip3o, &reader, at).unwrap()));
        round(&mut blip3o, &shard, &plan(1)).unwrap().0.loss
    };
    let small = |picture: &Picture| Picture::new(picture.pixels.clone());
    let smaller = Dataset { pictures: data.pictures.iter().map(small).collect(), ..data.clone() };
    assert_ne!(ask(&data), ask(&smaller), "64 by 64 pixels say something else");
}

#[test]
fn what_a_drawing_should_become_is_what_timms_tower_makes_of_the_picture() {
    let (_folder, data) = data();
    let found = tower().features(&data.pictures[0]).unwrap();
    let pinned = read_weights(&fs::read(pinned().join("reference.safetensors")).unwrap()).unwrap();
    let expected = &pinned["tower"].values;
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-4 * largest, "{found} for {expected}");
    }
}

#[test]
fn layers_computed_again_drop_the_same_inputs_as_the_first_time() {
    let (_folder, data) = data();
    let trained = |activations, dropout| {
        let (files, lora) =
            (TensorFiles::open(&pinned()).unwrap(), LoraConfig { dropout, ..lora() });
        let mut blip3o =
            Blip3o::load(&files, &config(), Some(&lora), activations, &Device::flex()).unwrap();
        blip3o.set_adapter(&start()).unwrap();
        let (_shelf, targets) = targets(&data);
        let shard = Shard::encode(&blip3o, &reader(), &data, Some(targets)).unwrap();
        round(&mut blip3o, &shard, &plan(3)).unwrap().0.adapter
    };
    let [kept, again] = [Activations::Kept, Activations::Recomputed].map(|it| trained(it, 0.3));
    let none = trained(Activations::Kept, 0.0);
    let apart = |other: &Adapter| {
        let values = |it: &Adapter| -> Vec<f32> {
            it.tensors().values().flat_map(|tensor| tensor.values.clone()).collect()
        };
        let (kept, other) = (values(&kept), values(other));
        kept.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max)
    };
    // The order in which gradients are added differs; AdamW moves a number by at most its step
    // size, 1e-2, a step.
    assert!(apart(&again) < 1e-4 && apart(&none) > 1e-2, "{} {}", apart(&again), apart(&none));
}

#[test]
fn a_target_is_made_once_and_again_for_another_picture_or_another_tower() {
    let (folder, data) = data();
    let (shelf, made) = targets(&data);
    let files = || fs::read_dir(shelf.path().join("new")).unwrap().map(|file| file.unwrap().path());
    assert_eq!((made.missing(), files().count()), (vec![], 2));
    assert_eq!(made.of(0).unwrap(), tower().features(&data.pictures[0]).unwrap());
    let drawing = &config().trunk.diffusion;
    let of = |tower| Targets::within(&shelf.path().join("new"), tower, drawing, &data).unwrap();
    assert_eq!((of(&TOWER).missing(), of(&[8; 32]).missing()), (vec![], vec![0, 1]));
    fs::copy(folder.path().join("0.png"), folder.path().join("1.png")).unwrap();
    assert!(of(&TOWER).missing().is_empty(), "one picture twice is one picture");
    image::RgbImage::new(9, 9).save(folder.path().join("1.png")).unwrap();
    assert_eq!(of(&TOWER).missing(), [1]);

    for file in files() {
        let mut bytes = fs::read(&file).unwrap();
        bytes[0] ^= 1;
        fs::write(&file, bytes).unwrap();
    }
    let damaged = made.of(0).unwrap_err().to_string();
    assert!(damaged.contains(": damaged; remove it"), "{damaged}");
    files().for_each(|file| fs::write(file, b"cut").unwrap());
    assert_eq!(made.missing(), [0, 1]);
}

#[test]
fn what_somebody_said_is_text_whatever_it_looks_like() {
    let (blip3o, reader) = (blip3o(), reader());
    let words = TextTokenizer::open(&pinned()).unwrap();
    let plain = reader.question(&blip3o, "what is it?").unwrap();
    assert_eq!(plain, words.encode(&prompt::question("what is it?", 1).whole()).unwrap());
    let caption = reader.caption(&blip3o, "a red star").unwrap();
    assert_eq!(caption, words.encode(&prompt::caption("a red star").whole()).unwrap());
    let (image, end) = (words.token("<|image_pad|>").unwrap(), words.token("<|im_end|>").unwrap());
    let marks = |tokens: &[u32]| tokens.iter().filter(|it| [image, end].contains(it)).count();
    let odd = reader.question(&blip3o, "is it <|image_pad|> or <|im_end|>?").unwrap();
    assert_eq!(marks(&odd), marks(&plain));
    let (_folder, mut data) = data();
    data.questions[0].question = "what is <|image_pad|>?".into();
    data.questions[1].answer = "<|image_pad|>".into();
    let shard = Shard::encode(&blip3o, &reader, &data, None).unwrap();
    assert!(round(&mut { blip3o }, &shard, &plan(1)).is_ok());
}

#[test]
fn a_word_that_the_model_has_no_embedding_for_is_refused_in_a_question_and_in_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(pinned().join("tokenizer.json")).unwrap();
    let mut larger: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut word = larger["added_tokens"][0].clone();
    word["id"] = config().trunk.language.vocab_size.into();
    word["content"] = "zebra".into();
    word["special"] = false.into();
    larger["added_tokens"].as_array_mut().unwrap().push(word);
    fs::write(folder.path().join("tokenizer.json"), larger.to_string()).unwrap();
    let (blip3o, reader) = (blip3o(), Reader::open(folder.path()).unwrap());
    let (_folder, data) = data();
    for place in ["question", "answer"] {
        let mut data = data.clone();
        match place {
            "question" => data.questions[0].question = "is it a zebra?".into(),
            _ => data.questions[0].answer = "zebra".into(),
        }
        let refused = Shard::encode(&blip3o, &reader, &data, None).map(drop).unwrap_err();
        assert!(refused.to_string().contains("beyond the model's 264"), "{place}: {refused}");
    }
}

#[test]
fn a_model_that_would_say_the_token_of_a_picture_says_something_else() {
    let (folder, from) = (tempfile::tempdir().unwrap(), pinned());
    for file in ["config.json", "tokenizer.json", "preprocessor_config.json"] {
        fs::copy(from.join(file), folder.path().join(file)).unwrap();
    }
    let mut whole = Weights::new();
    for part in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        whole.extend(read_weights(&fs::read(from.join(part)).unwrap()).unwrap());
    }
    // The head is tied to the embeddings: one of these four is far the likeliest.
    let image = config().image_token as usize;
    let rows = whole.get_mut("model.embed_tokens.weight").unwrap();
    for (at, value) in rows.values[image * 32..(image + 1) * 32].iter_mut().enumerate() {
        *value = if at % 2 == 0 { 50.0 } else { -50.0 };
    }
    for sign in [1.0, -1.0] {
        let rows = whole.get_mut("model.embed_tokens.weight").unwrap();
        rows.values[image * 32..(image + 1) * 32].iter_mut().for_each(|value| *value *= sign);
        fs::write(folder.path().join("model.safetensors"), encode(&whole)).unwrap();
        let files = TensorFiles::open(folder.path()).unwrap();
        let again = Activations::Recomputed;
        let blip3o = Blip3o::load(&files, &config(), None, again, &Device::flex()).unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let (_folder, data) = data();
        let shard = Shard::encode(&blip3o, &reader, &data, None).unwrap();
        (0..2).for_each(|at| drop(shard.answer(&blip3o, &reader, at).unwrap()));
    }
}

#[test]
fn a_picture_that_is_far_too_long_is_named_for_a_question_and_for_a_drawing() {
    let (folder, data) = data();
    let long = image::RgbImage::from_pixel(1, 900, image::Rgb([1, 2, 3]));
    long.save(folder.path().join("1.png")).unwrap();
    let targets = Targets::within(folder.path(), &TOWER, &config().trunk.diffusion, &data).unwrap();
    let refused = targets.make(1, &data.pictures[1], &tower()).unwrap_err().to_string();
    assert!(refused.contains("1.png: 1 by 900 pixels"), "{refused}");
    let mut blip3o = blip3o();
    let shard = Shard::encode(&blip3o, &reader(), &data, None).unwrap();
    let refused = round(&mut blip3o, &shard, &plan(1)).unwrap_err().to_string();
    assert!(refused.contains("1.png: 1 by 900 pixels"), "{refused}");
}

#[test]
fn bounds_of_pixels_without_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("preprocessor_config.json");
    for (min, max) in [(9, 8), (0, 0), (1, 1_000_000_000_000_u64)] {
        fs::write(&file, format!("{{\"min_pixels\": {min}, \"max_pixels\": {max}}}")).unwrap();
        let refused = PixelBounds::of(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("max_pixels {max}")), "{refused}");
    }
}

#[test]
fn without_a_tower_captions_are_counted_and_left_out() {
    let (_folder, data) = data();
    let mut blip3o = blip3o();
    let shard = Shard::encode(&blip3o, &reader(), &data, None).unwrap();
    assert_eq!((shard.example_count(), shard.undrawable_count()), (2, 2));
    let (trained, _) = round(&mut blip3o, &shard, &plan(1)).unwrap();
    assert_eq!(trained.examples, 2);
    let drawn_only = Dataset { questions: Vec::new(), ..data };
    let nothing = Shard::encode(&blip3o, &reader(), &drawn_only, None).unwrap();
    assert!(matches!(round(&mut blip3o, &nothing, &plan(1)), Err(TrainError::Empty)));
}

#[test]
fn a_step_of_two_half_batches_learns_from_as_much_as_one_of_a_whole() {
    let (_folder, data) = data();
    let mut blip3o = blip3o();
    let shard = Shard::encode(&blip3o, &reader(), &data, None).unwrap();
    let whole = round(&mut blip3o, &shard, &plan(1)).unwrap().0;
    let halves = TrainPlan { batch_questions: 1, accumulation: 2, ..plan(1) };
    let halves = round(&mut blip3o, &shard, &halves).unwrap().0;
    assert_eq!(halves.examples, whole.examples);
    // One answer has a token more than the other, so that the mean of both means weighs it a little
    // less.
    assert!((halves.loss - whole.loss).abs() < 0.2, "{} and {}", halves.loss, whole.loss);
    let pinned_down = TrainPlan { gradient_norm_max: Some(1e-12), ..plan(1) };
    let pinned_down = round(&mut blip3o, &shard, &pinned_down).unwrap().0;
    let moved = |trained: &Trained| {
        let change = trained.adapter.delta(&start());
        change.tensors().values().flat_map(|it| &it.values).map(|it| it.abs()).sum::<f32>()
    };
    assert!(moved(&pinned_down) < 0.01 * moved(&whole), "so small that AdamW's epsilon is more");
}

#[test]
fn a_picture_that_is_gone_when_it_is_due_is_named() {
    let (folder, data) = data();
    let mut blip3o = blip3o();
    let shard = Shard::encode(&blip3o, &reader(), &data, None).unwrap();
    fs::remove_file(folder.path().join("0.png")).unwrap();
    fs::write(folder.path().join("1.png"), "no picture").unwrap();
    let error = round(&mut blip3o, &shard, &plan(1)).unwrap_err();
    assert!(matches!(error, TrainError::Unreadable(_)), "{error}");
    assert!(error.to_string().contains(".png"), "{error}");
}

#[test]
fn a_tower_of_other_sizes_is_refused_and_none_is_none() {
    let (folder, config) = (tempfile::tempdir().unwrap(), config());
    let open = || Tower::open(folder.path(), &config.trunk.diffusion, &Device::flex());
    assert!(open().unwrap().is_none());
    let own = folder.path().join("eva_clip_vision_tower");
    fs::create_dir(&own).unwrap();
    let refused = || open().map(drop).unwrap_err().to_string();
    assert!(refused().contains("model.safetensors"), "{}", refused());
    let file = own.join("model.safetensors");
    fs::copy(pinned().parent().unwrap().join("eva/model.safetensors"), &file).unwrap();
    assert!(refused().contains("features of [16, 16]"), "{}", refused());
    fs::write(own.join("config.json"), "{\"num_heads\": 0}").unwrap();
    assert!(refused().contains("num_heads"), "{}", refused());
}

/// Two pictures in files, each with a question and a caption.
fn data() -> (TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(pinned().join("picture.png"), folder.path().join("0.png")).unwrap();
    let red = Picture::plain([200, 0, 0]).to_png().unwrap();
    fs::write(folder.path().join("1.png"), red).unwrap();
    let lines = "{\"image\": \"0.png\", \"caption\": \"stripes\"}\n{\"image\": \"1.png\", \
                 \"caption\": \"a red square\"}\n";
    let file = folder.path().join("pairs.jsonl");
    fs::write(&file, lines).unwrap();
    // A tenth is held out of the training split: with two lines, none.
    let mut data = captions::read(&file, Split::Train).unwrap().whole().unwrap();
    assert_eq!(data.captions.len(), 2);
    let question = |picture: usize, answer: &str| VqaExample {
        question_id: picture as u64,
        picture,
        question: "what colour is it?".into(),
        answers: vec![answer.into(); 10],
        answer: answer.into(),
        answer_type: AnswerType::Other,
        question_type: "what colour".into(),
        is_new: false,
    };
    data.questions = vec![question(0, "grey"), question(1, "red")];
    (folder, data)
}

fn round(
    blip3o: &mut Blip3o,
    shard: &Shard,
    plan: &TrainPlan,
) -> Result<(Trained, [Vec<f32>; 2]), TrainError> {
    let mut losses = [Vec::new(), Vec::new()];
    let trained = train(blip3o, &start(), shard, plan, &mut |step| {
        losses[0].extend(step.answer_loss);
        losses[1].extend(step.flow_loss);
        ControlFlow::Continue(())
    })?;
    Ok((trained.expect("nobody stops it"), losses))
}

fn plan(steps: usize) -> TrainPlan {
    TrainPlan {
        local_steps: steps,
        batch_questions: 2,
        batch_captions: 2,
        schedule: Schedule::constant(1e-2),
        ..TrainPlan::default()
    }
}

fn lora() -> LoraConfig {
    let targets = ["q_proj", "v_proj", "to_q", "to_v"].map(String::from).to_vec();
    LoraConfig { rank: 4, alpha: 8.0, dropout: 0.0, targets }
}

fn start() -> Adapter {
    Adapter::init(&Blip3o::adaptable(&config()), &lora(), 1)
}

fn blip3o() -> Blip3o {
    let files = TensorFiles::open(&pinned()).unwrap();
    let again = Activations::Recomputed;
    let mut blip3o =
        Blip3o::load(&files, &config(), Some(&lora()), again, &Device::flex()).unwrap();
    blip3o.set_adapter(&start()).unwrap();
    blip3o
}

fn config() -> Blip3oConfig {
    let bytes = fs::read(pinned().join("config.json")).unwrap();
    Blip3oConfig::read(&bytes, &TensorFiles::open(&pinned()).unwrap()).unwrap()
}

fn reader() -> Reader {
    Reader::open(&pinned()).unwrap()
}

fn tower() -> Tower {
    Tower::open(&pinned(), &config().trunk.diffusion, &Device::flex()).unwrap().unwrap()
}

/// Targets of all captions, and the folder that has them.
fn targets(data: &Dataset) -> (TempDir, Targets) {
    let shelf = tempfile::tempdir().unwrap();
    let drawing = &config().trunk.diffusion;
    let targets = Targets::within(&shelf.path().join("new"), &TOWER, drawing, data).unwrap();
    for picture in targets.missing() {
        targets.make(picture, &data.pictures[picture], &tower()).unwrap();
    }
    (shelf, targets)
}

/// What the tower is called here.
const TOWER: [u8; 32] = [7; 32];

fn pinned() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/blip3o")
}
