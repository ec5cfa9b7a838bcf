//! What people read, compared with snapshots: the commands that they type and all that is printed.

use crate::{Project, Ran};

/// What differs between runs, machines or versions, and what a snapshot shows in its place: as wide, so that tables stay aligned.
const VARIES: [(&str, &str); 9] = [
    (r"\d{8}-\d{6}-[0-9a-f]{8}", "YYYYMMDD-HHMMSS-xxxxxxxx"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "YYYY-MM-DD HH:MM:SS UTC"),
    (r"\(\d\d:\d\d:\d\d UTC\)", "(HH:MM:SS UTC)"),
    (r"\b\d\.\d\d s\b", "0.00 s"),
    (r"\b[0-9a-f]{64}\b", "<64 hex digits>"),
    (r"\b[0-9a-f]{10}\b", "xxxxxxxxxx"),
    (r"(version|pipeline|cpu \|) \d+\.\d+\.\d+", "$1 X.Y.Z"),
    // Of Parquet files, which other versions of its crate write otherwise.
    (r"\b\d+(\.\d)? (B|KiB)\b", "0 B"),
    (r"entries/[0-9a-f]{2}/", "entries/xx/"),
];

/// Asserts that a text is the one in the snapshot of this rule.
pub fn reads(rule: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (varies, shown) in VARIES {
        settings.add_filter(varies, shown);
    }
    settings.bind(|| insta::assert_snapshot!(rule, text));
}

impl Project {
    /// Asserts what a person reads who types these commands, each of them the program's but for `cat`.
    pub fn reads(&self, rule: &str, commands: &[&str]) {
        reads(rule, &self.transcript(commands));
    }

    /// Commands and what they print: standard error, then standard output, then the exit code unless it is 0.
    pub fn transcript(&self, commands: &[&str]) -> String {
        let mut text = String::new();
        for command in commands {
            let (shown, said) = match command.strip_prefix("cat ") {
                Some(file) => ((*command).to_owned(), self.read(file)),
                None => {
                    let Ran { code, stdout, stderr } =
                        self.cli(&command.split_whitespace().collect::<Vec<_>>());
                    let code = code.expect("no signal ended the program");
                    let code = if code == 0 { String::new() } else { format!("[exit code {code}]\n") };
                    let stderr = step_by_step(&stderr);
                    (format!("pipeline {command}"), format!("{stderr}{stdout}{code}"))
                }
            };
            text.push_str(&format!("$ {shown}\n{}\n\n", said.trim_end()));
        }
        text.replace(&self.path("").display().to_string(), "/project/")
    }
}

/// What a run says, with the lines of each step together: stages in the order in which they were told of, failed ones
/// last, and their steps by name.
///
/// A step starts while others wait for the disk, so which of their lines comes first is up to the disk.
fn step_by_step(said: &str) -> String {
    // A line and those that are indented below it.
    let mut told: Vec<String> = Vec::new();
    for line in said.split_inclusive('\n') {
        match told.last_mut().filter(|_| line.starts_with("  ")) {
            Some(before) => before.push_str(line),
            None => told.push(line.to_owned()),
        }
    }
    let step_of = |told: &str| {
        let mut words = told.split_whitespace();
        let first = words
            .next()
            .filter(|word| matches!(*word, "started" | "computed" | "stage" | "failed" | "skipped"))?;
        let step = words.next()?.trim_end_matches(':').to_owned();
        Some((matches!(first, "failed" | "skipped"), step.split('[').next()?.to_owned(), step))
    };
    let slots: Vec<usize> = (0..told.len()).filter(|at| step_of(&told[*at]).is_some()).collect();
    let mut moved: Vec<String> = slots.iter().map(|at| told[*at].clone()).collect();
    let stages: Vec<String> =
        moved.iter().filter_map(|told| step_of(told)).map(|(_, stage, _)| stage).collect();
    moved.sort_by_key(|told| {
        let (failed, stage, step) = step_of(told).unwrap_or_default();
        (failed, stages.iter().position(|other| *other == stage), step)
    });
    slots.iter().zip(moved).for_each(|(at, text)| told[*at] = text);
    told.concat()
}
