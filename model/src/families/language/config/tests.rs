//! What is read of configurations of every family, and what is refused by name.

use serde_json::json;

use super::*;
use crate::families::language::Language;

fn read(config: Value) -> Result<LanguageConfig, String> {
    let bytes = serde_json::to_vec(&config).unwrap();
    LanguageConfig::from_hugging_face(&bytes).map_err(|error| error.to_string())
}

fn llama() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "vocab_size": 49152,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "rope_theta": 100000, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
        "torch_dtype": "bfloat16", "rope_scaling": null, "unheard_of": [1],
    })
}

#[test]
fn a_llama_of_135_million_numbers_is_read() {
    let config = read(llama()).unwrap();
    assert_eq!((config.head_dim, config.rope_theta), (64, 100_000));
    let count = |(_, shape): &(String, Vec<usize>)| shape.iter().product::<usize>();
    let tensors = Language::tensors(&config);
    assert_eq!(tensors.iter().map(count).sum::<usize>(), 134_515_008);
}

#[test]
fn the_language_model_of_a_larger_one_is_read_wherever_its_keys_lie() {
    let mut flat = llama();
    flat["model_type"] = json!("qwen2_5_vl");
    flat["rope_scaling"] = json!({"type": "mrope", "mrope_section": [8, 12, 12]});
    let expected = read(flat.clone()).unwrap();
    assert_eq!((expected.family, expected.mrope_section), (Family::Qwen2, Some([8, 12, 12])));
    let nested = json!({"model_type": "qwen2_5_vl", "text_config": flat});
    assert_eq!(read(nested).unwrap(), expected);
    let mut newest = llama();
    newest["rope_theta"] = Value::Null;
    newest["rope_parameters"] = json!({"rope_theta": 100000.0, "rope_type": "default"});
    assert_eq!(read(newest), read(llama()));
}

#[test]
fn a_key_that_is_null_has_its_usual_value() {
    let mut config = llama();
    for key in ["rms_norm_eps", "tie_word_embeddings", "attention_bias", "text_config"] {
        config[key] = Value::Null;
    }
    config["rope_scaling"] = json!({"rope_type": null});
    let config = read(config).unwrap();
    assert_eq!((config.rms_norm_eps, config.tie_word_embeddings), (1e-6, false));
}

#[test]
fn a_value_of_the_wrong_kind_or_out_of_range_is_named() {
    for (key, value, said) in [
        ("rms_norm_eps", json!(-1), "rms_norm_eps is -1, expected a number from 1e-12 to 1"),
        ("rms_norm_eps", json!(1e99), "rms_norm_eps is 1e+99, expected a number"),
        ("rms_norm_eps", json!("1e-5"), "rms_norm_eps is \"1e-5\", expected a number"),
        ("attention_bias", json!("true"), "attention_bias is \"true\", expected true or false"),
        ("mlp_bias", json!(0), "mlp_bias is 0, expected true or false"),
        ("use_sliding_window", json!("yes"), "use_sliding_window is \"yes\", expected true"),
        ("tie_word_embeddings", json!("yes"), "tie_word_embeddings is \"yes\", expected true"),
        ("rope_scaling", json!("linear"), "rope_scaling is \"linear\", expected an object"),
        ("rope_scaling", json!([1]), "rope_scaling is [1], expected an object"),
        ("rope_parameters", json!(1e4), "rope_parameters is 10000.0, expected an object"),
        ("rope_scaling", json!({"type": 7}), "expected unscaled positions"),
        ("rope_scaling", json!({"rope_type": "default", "type": "linear"}), "unscaled"),
        ("rope_parameters", json!({"rope_theta": "1e6"}), "rope_theta is \"1e6\", expected"),
        ("rope_scaling", json!({"mrope_section": [usize::MAX, 1, 32]}), "half a head in all"),
        ("text_config", json!([]), "text_config is [], expected an object"),
        ("hidden_act", json!(["silu"]), "hidden_act is [\"silu\"], expected silu"),
        ("model_type", json!(["llama"]), "model_type is [\"llama\"], expected llama"),
        ("head_dim", json!(63), "head_dim is 63, expected an even number"),
        ("hidden_size", json!(8), "head_dim is 0, expected an even number from 2"),
    ] {
        let mut config = llama();
        config[key] = value.clone();
        let found = read(config).expect_err(&format!("{key} {value} is taken"));
        assert!(found.contains(said), "{said:?} in {found}");
    }
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    for (key, value, said) in [
        ("model_type", json!("gpt2"), "model_type is \"gpt2\", expected llama, qwen2"),
        ("hidden_size", json!("576"), "hidden_size is \"576\", expected a number"),
        ("vocab_size", json!(0), "vocab_size is 0, expected a number"),
        ("num_hidden_layers", json!(1025), "num_hidden_layers is 1025, expected a number"),
        ("hidden_act", json!("gelu"), "hidden_act is \"gelu\", expected silu"),
        ("attention_bias", json!(true), "attention_bias is true, expected false"),
        ("rope_scaling", json!({"rope_type": "llama3"}), "expected unscaled positions"),
        ("num_key_value_heads", json!(4), "9 query heads cannot share 4 key heads"),
        ("rope_scaling", json!({"mrope_section": [16, 24, 24]}), "half a head in all"),
    ] {
        let mut config = llama();
        config[key] = value;
        let found = read(config).unwrap_err();
        assert!(found.contains(said), "{said:?} in {found}");
    }
    assert!(read(json!([1])).unwrap_err().contains("malformed"));
}
