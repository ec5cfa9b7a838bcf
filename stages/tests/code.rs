//! What enters a kind's code: the rules are tested at the foot of each file of `build/`.

#[path = "../build/locked.rs"]
mod locked;
#[path = "../build/modules.rs"]
mod modules;
#[path = "../build/tokens.rs"]
mod tokens;

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
