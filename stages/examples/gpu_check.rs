//! Checks that a GPU computes what the CPU does: runs the tests' cases in each precision and prints a table.
//!
//! cargo run --release --workspace --features cuda --example gpu_check -- [cuda:0 | emulator]
//!
//! Exits with 1 if an error exceeds its limit, and with 3 if there is no such device.

#[path = "../tests/parity/cases/mod.rs"]
mod cases;

use cases::{cases, error};
use contract::stage;
use std::process::ExitCode;
use tensor::device::{Device, Precision};

/// The largest allowed error, relative to the largest number of the result. It covers another order of sums in f32, and
/// factors rounded to 10 and to 7 bits in the others.
const LIMITS: [(Precision, f64); 3] =
    [(Precision::F32, 1e-4), (Precision::Tf32, 2e-2), (Precision::Bf16, 2e-2)];

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_else(|| "cuda:0".to_owned());
    let id = match name.as_str() {
        "emulator" => u32::MAX,
        name => match name.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(id)) => id,
            _ => return refuse("give cuda:N or emulator"),
        },
    };
    if let Some(gpu) =
        tensor::card::gpus().as_ref().ok().and_then(|gpus| gpus.iter().find(|gpu| gpu.id == id))
    {
        let gib = gpu.memory as f64 / f64::from(1 << 30);
        println!(
            "{} ({gib:.0} GiB, compute capability {}.{})\n",
            gpu.name, gpu.capability.0, gpu.capability.1
        );
    }
    if let Err(refusal) = Device::open(stage::Device::Cuda(id), Precision::F32) {
        return refuse(&refusal.0);
    }
    println!("| largest relative error | f32 | tf32 | bf16 |\n|---|---|---|---|");
    let mut good = true;
    for case in cases() {
        let expected = (case.run)(&Device::cpu());
        let mut row = format!("| {}", case.name);
        for (precision, limit) in LIMITS {
            let device = match Device::open(stage::Device::Cuda(id), precision) {
                Ok(device) => device,
                Err(refusal) => return refuse(&refusal.0),
            };
            let found = (case.run)(&device);
            // With rounded products only the first results are compared, which are values or losses. The gradients at
            // ReLU-like kinks and of M may belong to a different element.
            let compared = if precision == Precision::F32 { found.len() } else { 1 };
            let errors = found.iter().zip(&expected).take(compared).map(|((_, a), (_, b))| error(a, b));
            let most = errors.fold(0.0, |most: f64, one| if one.is_nan() || one > most { one } else { most });
            let within = most <= limit;
            good &= within;
            row += &format!(" | {most:.1e}{}", if within { "" } else { " **too far**" });
        }
        println!("{row} |");
    }
    println!(
        "\n{}",
        if good { "Every number is within its limit." } else { "Some numbers are too far off." }
    );
    ExitCode::from(u8::from(!good))
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("gpu_check: {why}");
    ExitCode::from(3)
}
