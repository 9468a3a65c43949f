//! A damaged base is named for what is wrong with it, never loaded.

use std::path::{Path, PathBuf};

use witan_adapter::tensors::{TensorsError, WeightError, read_weights};
use witan_data::tokenizer::Tokenizer;
use witan_model::families::tiny::base::fresh;
use witan_model::families::tiny::config::ModelConfig;
use witan_model::{Base, BaseError};

/// A folder of this test's own that holds a sound base.
fn sound(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    base().save(&folder).unwrap();
    folder
}

fn base() -> Base {
    let config = ModelConfig::tiny(Tokenizer::new().len());
    let weights = fresh(&config, Default::default(), 3).unwrap();
    Base::new(config, weights).unwrap()
}

#[test]
fn a_saved_base_reads_back_to_the_same_bytes() {
    let folder = sound("read-back");
    let back = Base::from_dir(&folder).unwrap();
    assert!(back.weight_bytes() == std::fs::read(folder.join("model.safetensors")).unwrap());
    assert_eq!(back.parameter_count(), base().parameter_count());
}

#[test]
fn a_missing_file_is_named() {
    let folder = sound("missing-file");
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    let error = Base::from_dir(&folder).unwrap_err();
    assert!(
        matches!(&error, BaseError::File { path, .. } if path.ends_with("model.safetensors")),
        "{error}"
    );
}

#[test]
fn cut_weights_and_a_foreign_config_are_malformed() {
    let folder = sound("cut");
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    std::fs::write(folder.join("model.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    let error = Base::from_dir(&folder).unwrap_err();
    assert!(
        matches!(
            error,
            BaseError::Tensors(TensorsError::Malformed { bytes: found }) if found == bytes.len() / 2
        ),
        "{error}"
    );
    std::fs::write(folder.join("config.json"), "{}").unwrap();
    let error = Base::from_dir(&folder).unwrap_err();
    assert!(matches!(error, BaseError::Config(_)), "{error}");
}

#[test]
fn a_missing_tensor_is_named() {
    let base = base();
    let mut weights = read_weights(&base.weight_bytes()).unwrap();
    weights.remove("model.latent_queries").unwrap();
    let error = Base::new(base.config().clone(), weights).unwrap_err();
    let BaseError::Weight(WeightError::Missing { name }) = error else { panic!("{error}") };
    assert_eq!(name, "model.latent_queries");
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both() {
    let base = base();
    let mut weights = base.weights().clone();
    weights.get_mut("model.latent_queries").unwrap().shape = vec![2, 8, 128];
    let error = Base::new(base.config().clone(), weights).unwrap_err().to_string();
    for told in ["model.latent_queries", "[2, 8, 128]", "expected [16, 128]"] {
        assert!(error.contains(told), "{told} in {error}");
    }
}

#[test]
fn a_value_that_is_not_finite_is_named() {
    let base = base();
    let mut weights = base.weights().clone();
    weights.get_mut("model.latent_queries").unwrap().values[7] = f32::NAN;
    let error = Base::new(base.config().clone(), weights).unwrap_err();
    assert!(
        matches!(&error, BaseError::NotFinite { name } if name == "model.latent_queries"),
        "{error}"
    );
}

#[test]
fn another_word_list_is_refused() {
    let base = base();
    let config = ModelConfig::tiny(base.config().vocab_size + 1);
    let error = Base::new(config, base.weights().clone()).unwrap_err();
    assert!(matches!(error, BaseError::Vocabulary { .. }), "{error}");
}
