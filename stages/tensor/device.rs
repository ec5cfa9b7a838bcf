//! What computes.

use super::buffer::Pool;
use super::card::{Card, CardFault};
use contract::stage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// What computes; clones share memory.
#[derive(Debug, Clone)]
pub enum Device {
    /// The processor.
    Cpu(Arc<Pool>),
    /// A GPU.
    Cuda(Card),
}

/// How matrix products are rounded; sums are of 32 bits always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// The factors rounded to 10 bits after the point, on a GPU only.
    Tf32,
    /// The factors rounded to 7 bits after the point, on a GPU only.
    Bf16,
}

impl Device {
    /// The processor, with a pool of buffers of its own.
    pub fn cpu() -> Device {
        Device::Cpu(Arc::default())
    }

    /// What a stage was given; the processor knows one precision.
    pub fn open(given: stage::Device, precision: Precision) -> Result<Device, stage::Refusal> {
        match given {
            stage::Device::Cpu => Ok(Device::cpu()),
            stage::Device::Cuda(id) => match Card::open(id, precision) {
                Ok(card) => Ok(Device::Cuda(card)),
                Err(fault) => Err(fault.refusal("resources.gpus")),
            },
        }
    }

    /// The card, where it is one.
    pub fn card(&self) -> Option<&Card> {
        match self {
            Device::Cpu(_) => None,
            Device::Cuda(card) => Some(card),
        }
    }
}

/// Runs a stage's work on the device that it was given; `lower` is the param that decides how much memory it takes.
///
/// Operations return no errors: a program that has checked its shapes can meet none on a processor. What a card
/// refuses unwinds to here and comes out as a [`stage::Refusal`] that names what the stage held at most.
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

/// The processor. In a build that can use a card, `PIPELINE_TEST_DEVICE` names one instead: so every test of an operation
/// is one of its kernels on every device.
pub fn device() -> Device {
    match Card::for_tests() {
        Some(card) => Device::Cuda(card),
        None => Device::cpu(),
    }
}
