//! Where steps compute: the effect of `--device`, what is printed about it, and that a GPU belongs to one run.

use std::time::Duration;
use support::Project;

const WHERE: &str = "stages: {a: {kind: where, with: {}}}";

#[test]
fn a_gpu_that_cannot_be_used_is_refused_before_anything_runs() {
    let project = Project::of_toys(WHERE);
    let ran = project.run(&["--device", "cuda"]);
    ran.exits(3).says("error: --device asks for a GPU: toys compute on no GPU");
    assert!(ran.computed().is_empty());
}

#[test]
fn without_a_usable_gpu_auto_is_the_processor_and_says_why() {
    let project = Project::of_toys(WHERE);
    project.run_well(&[]).says("computing on the processor: toys compute on no GPU");
    assert_eq!(project.output("a", "text"), "Cpu []\n");
    let doctor = project.cli(&["doctor"]).stdout;
    assert!(doctor.contains("every step computes on the processor: toys compute on no GPU"), "{doctor}");
    // No step here can use a GPU, so nothing is printed.
    let ran = Project::of_toys("stages: {a: {kind: grow, with: {line: x}}}").run_well(&[]);
    assert!(!ran.stderr.contains("computing on"), "{}", ran.stderr);
}

#[test]
fn kinds_that_no_gpu_helps_stay_on_the_processor_and_are_named() {
    let project = Project::of_toys("stages: {a: {kind: grow, with: {line: x}}, b: {kind: dice, with: {}}}");
    project
        .run_well(&["--device", "cuda"])
        .says("computing on the processor: no GPU is of use to dice, grow");
}

#[test]
fn the_device_that_is_asked_for_is_in_the_key() {
    let project = Project::of_toys("stages: {a: {kind: where, resources: {gpus: 1}, with: {}}}");
    project.run_well(&["--gpus", "5"]).says("but for 1 of 1 steps, which ask for a GPU");
    assert_eq!(project.output("a", "text"), "Cuda(5) [5]\n");
    let ran = project.run_well(&["--device", "cpu", "--gpus", "5"]);
    ran.says("started a: device: cuda → cpu");
    assert!(!ran.stderr.contains("where.cu"), "{}", ran.stderr);
    // Code that only a GPU runs is in the recipes of GPU results only.
    let recipes = project.files("cache/v1/entries").into_iter().filter(|path| path.ends_with("recipe.json"));
    for recipe in recipes.map(|path| std::fs::read_to_string(path).unwrap()) {
        assert_eq!(recipe.contains("where.cu"), recipe.contains(r#""device":"cuda""#), "{recipe}");
    }
    for device in ["cuda", "cpu"] {
        let plan = project.cli(&["plan", "p.yaml", "--exit-code", "--device", device]);
        assert_eq!(plan.code, Some(0), "{device}: {}", plan.stdout);
    }
}

#[test]
fn a_card_belongs_to_one_run_at_a_time() {
    let stages = |millis: u32| {
        format!("stages: {{a: {{kind: where, resources: {{gpus: 1}}, with: {{millis: {millis}}}}}}}")
    };
    let project = Project::of_toys(&stages(3_000));
    let first = project.start(&["--gpus", "9", "--json"]);
    let folder = project.path(&format!("pipeline-gpus-{}", rustix::process::getuid().as_raw()));
    // The lock file exists once the first run holds the GPU.
    while !folder.join("9").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    project.write("p.yaml", &stages(0));
    let second = project.run_well(&["--gpus", "9", "--cache", "other"]);
    second.says(&format!("a waits for a GPU: process {} has it", first.id()));
    // A run that has another GPU does not wait.
    let third = project.run_well(&["--gpus", "9,8", "--cache", "third"]);
    assert!(!third.stderr.contains("waits for a GPU"), "{}", third.stderr);
    assert!(first.wait_with_output().unwrap().status.success());
}
