//! Compiles the kernels: with nvcc for GPUs, with the C++ compiler for the emulator.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Kernel sources: `common.cu` first, then the `cuda.cu` of each operation that has one.
const COMMON: &str = "card/common.cu";
const HEADER: &str = "card/kernel.cuh";
const EMULATOR: &str = "card/emulator.cpp";
const OPERATIONS: &str = "ops";

/// Targets of nvcc: machine code for the generations of the A100 and the H100, and PTX that the driver compiles for
/// later ones.
const TARGETS: [&str; 3] = [
    "-gencode=arch=compute_80,code=sm_80",
    "-gencode=arch=compute_90,code=sm_90",
    "-gencode=arch=compute_80,code=compute_80",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Err(message) = build() {
        println!("cargo::error={message}");
    }
}

/// Builds what the enabled features need.
fn build() -> Result<(), String> {
    println!("cargo::rerun-if-env-changed=NVCC");
    println!("cargo::rerun-if-env-changed=CXXFLAGS");
    let out = PathBuf::from(variable("OUT_DIR")?);
    let (cuda, emulator) = (has("CUDA"), has("EMULATOR"));
    if !cuda && !emulator {
        return Ok(());
    }
    let sources = sources()?;
    for source in &sources {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    let include = |path: &Path| format!("#include \"{}\"\n", path.display());
    let all: String = sources.iter().map(|path| include(path)).collect();
    write(&out.join("kernels.inc"), &all)?;
    if cuda {
        let fatbin = out.join("kernels.fatbin");
        match has("CI_CHECK") {
            true => write(&fatbin, "")?,
            false => for_card(&out, &fatbin)?,
        }
    }
    if emulator { for_emulator(&out, &sources) } else { Ok(()) }
}

fn has(feature: &str) -> bool {
    std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some()
}

fn sources() -> Result<Vec<PathBuf>, String> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let folder = root.join(OPERATIONS);
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut operations: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path().join("cuda.cu")).filter(|path| path.is_file()).collect();
    operations.sort();
    Ok([HEADER, COMMON].map(|name| root.join(name)).into_iter().chain(operations).collect())
}

fn for_card(out: &Path, fatbin: &Path) -> Result<(), String> {
    let nvcc = std::env::var("NVCC").unwrap_or_else(|_| "nvcc".to_owned());
    let source = out.join("kernels.cu");
    write(&source, "#include \"kernels.inc\"\n")?;
    let mut command = Command::new(&nvcc);
    command.args(["-O3", "-std=c++17", "-fatbin"]).args(TARGETS).arg("-o").arg(fatbin).arg(source);
    run(command).map_err(|error| {
        format!(
            "{error}; the feature `cuda` compiles its kernels with nvcc: put it into PATH or name it in NVCC, or add the \
             feature `ci-check` to check the code without"
        )
    })
}

fn for_emulator(out: &Path, sources: &[PathBuf]) -> Result<(), String> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let mut names = String::new();
    for source in sources {
        let text = read(source)?;
        for kernel in text.split("\nKERNEL(").skip(1) {
            let name: String = kernel.chars().take_while(|c| *c != ')').collect();
            names.push_str(&format!("ENTRY({name})\n"));
        }
    }
    write(&out.join("table.inc"), &names)?;
    let (object, archive) = (out.join("emulator.o"), out.join("libemulator.a"));
    println!("cargo::rerun-if-changed={EMULATOR}");
    let flags = std::env::var("CXXFLAGS").unwrap_or_default();
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut command = Command::new(compiler);
    command.args([
        "-O2",
        "-std=c++17",
        "-ffp-contract=off",
        "-fno-exceptions",
        "-fno-rtti",
        "-Wall",
        "-Wextra",
    ]);
    command.args(["-Werror", "-fPIC", "-c"]).args(flags.split_whitespace()).arg("-I").arg(out).arg("-o");
    command.arg(&object).arg(root.join(EMULATOR));
    run(command)?;
    let mut command = Command::new("ar");
    command.arg("crs").arg(&archive).arg(&object);
    run(command)?;
    println!("cargo::rustc-link-search=native={}", out.display());
    println!("cargo::rustc-link-lib=static=emulator");
    // rustc links without the libraries that the compiler adds implicitly, such as the sanitizers' runtime.
    for name in flags
        .split_whitespace()
        .filter_map(|flag| flag.strip_prefix("-fsanitize="))
        .flat_map(|all| all.split(','))
    {
        let library = match name {
            "address" => "asan",
            "undefined" => "ubsan",
            _ => {
                return Err(format!(
                    "CXXFLAGS asks for the sanitizer `{name}`; address and undefined are known"
                ));
            }
        };
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    Ok(())
}

fn run(mut command: Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} does not run: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        // On one line, because cargo shows only the first line of the error.
        false => {
            Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).replace('\n', " | ")))
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}"))
}
