//! What enters a kind's code: the rules are tested at the foot of each file of `build/`.

#[path = "../build/locked.rs"]
mod locked;
#[path = "../build/modules.rs"]
mod modules;
#[path = "../build/tokens.rs"]
mod tokens;

#[test]
fn code_of_a_gpu_is_apart() {
    let of_gpu = |what: &str| what.contains("cuda") || what.contains("/card/");
    for kind in stages::KINDS {
        assert!(!kind.code.iter().any(|(what, _)| of_gpu(what)), "{}", kind.name);
        let Some(on_gpu) = kind.on_device else { continue };
        assert!(on_gpu.iter().all(|(what, _)| of_gpu(what) || what.starts_with("crate ")), "{}", kind.name);
        assert!(on_gpu.iter().any(|(what, _)| what.ends_with("linear/cuda.cu")), "{}", kind.name);
    }
}

#[test]
fn every_kind_but_command_has_code_of_its_own_file() {
    for kind in stages::KINDS.iter().filter(|kind| kind.name != "command") {
        let own = format!("stages/{}.rs", kind.name.replace('-', "_"));
        assert!(
            kind.code.iter().any(|(what, _)| *what == own),
            "{} does not take its constant of code.rs",
            kind.name
        );
    }
}
