//! What enters the code of each kind; the rules are tested in the crate `kind-code`.

#[test]
fn code_of_a_gpu_is_apart() {
    let of_gpu = |what: &str| what.contains("cuda") || what.contains("/card/");
    for kind in stages::KINDS {
        assert!(!kind.code.iter().any(|(what, _)| of_gpu(what)), "{}", kind.name);
        let Some(on_gpu) = kind.on_device.map(|able| able.code) else { continue };
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
            "{} does not take its code with `code!()`",
            kind.name
        );
    }
}
