//! Whether a GPU computes what the processor does: the cases of the tests, in each precision, as a table.
//!
//! cargo run --release --workspace --features cuda --example gpu_check -- [cuda:0 | emulator]
//!
//! Ends with 1 where a number is further off than it may be, and with 3 where there is no such device.

#[path = "../tests/parity/cases/mod.rs"]
mod cases;

use cases::{cases, error};
use contract::stage;
use std::process::ExitCode;
use tensor::device::{Device, Precision};

/// How far a result may be off, relative to its largest number: sums in another order; factors rounded to 10 and to 7 bits.
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
            // In rounded products what comes first is compared: values, or losses. Slopes of ReLU-like bends and of M
            // may belong to another element there.
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
