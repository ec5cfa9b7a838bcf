//! The device that computes.

use super::buffer::Pool;
use super::card::{Card, CardFault};
use contract::stage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Where tensors live and operations run; clones share its memory.
#[derive(Debug, Clone)]
pub enum Device {
    /// The CPU.
    Cpu(Arc<Pool>),
    /// A GPU.
    Cuda(Card),
}

/// How the factors of matrix products are rounded; sums always have 32 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// Factors rounded to 10 fraction bits, on a GPU only.
    Tf32,
    /// Factors rounded to 7 fraction bits, on a GPU only.
    Bf16,
}

impl Device {
    /// The CPU, with a buffer pool of its own.
    pub fn cpu() -> Device {
        Device::Cpu(Arc::default())
    }

    /// Opens the device that the stage was given. On the CPU the precision is ignored.
    pub fn open(given: stage::Device, precision: Precision) -> Result<Device, stage::Refusal> {
        match given {
            stage::Device::Cpu => Ok(Device::cpu()),
            stage::Device::Cuda(id) => match Card::open(id, precision) {
                Ok(card) => Ok(Device::Cuda(card)),
                Err(fault) => Err(fault.refusal("resources.gpus")),
            },
        }
    }

    /// The card, if this is one.
    pub fn card(&self) -> Option<&Card> {
        match self {
            Device::Cpu(_) => None,
            Device::Cuda(card) => Some(card),
        }
    }
}

/// Runs a stage's work on the device that it was given; `lower` names the param that determines memory use.
///
/// Operations return no errors: once shapes are checked, they cannot fail on the CPU. Failures of a card unwind to this
/// function, which returns them as a [`stage::Refusal`] that names the stage's peak memory.
pub fn on<R>(
    given: stage::Device,
    precision: Precision,
    lower: &str,
    work: impl FnOnce(&Device) -> anyhow::Result<R>,
) -> anyhow::Result<R> {
    if given == stage::Device::Cpu && precision != Precision::F32 {
        let name = serde_json::to_value(precision)?;
        anyhow::bail!(
            "`precision` is {name}, which only a GPU computes in; leave it out, or give --device cuda"
        )
    }
    let device = Device::open(given, precision)?;
    match catch_unwind(AssertUnwindSafe(|| work(&device))) {
        Ok(result) => result,
        Err(payload) => match payload.downcast::<CardFault>() {
            Ok(fault) => Err(fault.refusal(lower).into()),
            Err(payload) => resume_unwind(payload),
        },
    }
}

/// The device for tests: the CPU, or the one named by `PIPELINE_TEST_DEVICE` in a build that can use a card. Every test
/// of an operation thereby also tests its kernels.
pub fn device() -> Device {
    match Card::for_tests() {
        Some(card) => Device::Cuda(card),
        None => Device::cpu(),
    }
}
