//! The program: the engine with every kind of stage.

fn main() -> std::process::ExitCode {
    pipeline::main(pipeline::KINDS)
}
