//! What a build without CUDA includes and prints.

use support::{Project, program};

/// Whether this build has the feature; the tests here apply only to builds without it.
fn with_cuda() -> bool {
    cfg!(feature = "cuda")
}

#[test]
fn a_gpu_is_refused_in_one_sentence_before_anything_runs() {
    if with_cuda() {
        return;
    }
    let stages = "{cells: {kind: simulate}, t: {kind: tokenise, in: {data: cells}}, p: {kind: pretrain, in: {tokens: t}}}";
    let project = Project::new(&format!("stages: {stages}"));
    let ran = project.run(&["--device", "cuda"]);
    ran.exits(3).says("error: --device asks for a GPU: this program was built without CUDA");
    assert!(ran.computed().is_empty());
    let doctor = project.cli(&["doctor"]).stdout;
    assert!(doctor.contains("computes on the processor: this program was built without CUDA"), "{doctor}");
}

#[test]
fn a_program_without_the_feature_holds_nothing_of_cuda() {
    if with_cuda() {
        return;
    }
    let bytes = std::fs::read(program()).unwrap();
    for name in ["cuInit", "cuLaunchKernel", "cublas", "libcuda", "nvrtc"] {
        let found = bytes.windows(name.len()).any(|window| window == name.as_bytes());
        assert!(!found, "the program holds `{name}`");
    }
}
