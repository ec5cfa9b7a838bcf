//! A GPU computes what the processor does: the emulator runs the same kernels.

mod cases;

use cases::{cases, error};
use contract::stage;
use tensor::Device;
use tensor::device::Precision;

/// The emulated GPU.
const EMULATOR: stage::Device = stage::Device::Cuda(u32::MAX);

#[test]
fn every_case_is_that_of_the_processor() {
    let card = Device::open(EMULATOR, Precision::F32).unwrap();
    for case in cases() {
        let (found, expected) = ((case.run)(&card), (case.run)(&Device::cpu()));
        for ((what, found), (_, expected)) in found.iter().zip(&expected) {
            let error = error(found, expected);
            assert!(error <= 1e-4, "{}, {what}: {error:e}", case.name);
        }
    }
}

#[test]
fn dropout_draws_the_same_bits() {
    let card = Device::open(EMULATOR, Precision::F32).unwrap();
    let case = cases().find(|case| case.name == "dropout").unwrap();
    assert_eq!((case.run)(&card), (case.run)(&Device::cpu()));
}

#[test]
fn rounded_factors_stay_close() {
    for (precision, limit) in [(Precision::Tf32, 5e-3), (Precision::Bf16, 2e-2)] {
        let card = Device::open(EMULATOR, precision).unwrap();
        // Gradients of a rounded network are another network's; what is promised is its results.
        for case in cases()
            .filter(|case| ["linear", "inference", "ten steps of masked training"].contains(&case.name))
        {
            let (found, expected) = ((case.run)(&card), (case.run)(&Device::cpu()));
            let error = error(&found[0].1, &expected[0].1);
            assert!(error <= limit && error > 0.0, "{precision:?}, {}: {error:e}", case.name);
        }
    }
}

#[test]
fn a_result_is_the_same_bits_in_every_run() {
    for case in cases() {
        let run = || (case.run)(&Device::open(EMULATOR, Precision::F32).unwrap());
        assert_eq!(run(), run(), "{}", case.name);
    }
}
