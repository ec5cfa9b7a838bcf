//! Decides whether steps that can compute on a GPU do so, and explains why.

use crate::graph::Graph;
use crate::key::Hardware;
use contract::gpu::Gpu;
use contract::stage::Kind;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::OnceLock;

/// What `--device` asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// A GPU if a usable one is present, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU: any usable one, or the one with this id.
    Cuda(Option<u32>),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        match (text, text.strip_prefix("cuda:").map(str::parse)) {
            ("auto", _) => Ok(Wanted::Auto),
            ("cpu", _) => Ok(Wanted::Cpu),
            ("cuda", _) => Ok(Wanted::Cuda(None)),
            (_, Some(Ok(id))) => Ok(Wanted::Cuda(Some(id))),
            _ => Err("give auto, cpu, cuda or cuda:N".to_owned()),
        }
    }
}

/// Sets the device of every step, which enters its key. Returns one sentence about the choice if some step
/// has a choice or a GPU was asked for.
///
/// Under `auto` with no usable GPU, a step whose `resources` ask for GPUs still stays on the GPU: the file's
/// request is kept.
pub fn settle(graph: &mut Graph, wanted: Wanted) -> Option<String> {
    let said = settle_steps(graph, wanted);
    let Wanted::Cuda(_) = wanted else { return said };
    let others = graph.steps.node_weights().filter(|step| step.takes().gpus == 0);
    let others: BTreeSet<&str> = others.map(|step| step.kind.name).collect();
    let others = others.into_iter().collect::<Vec<_>>().join(", ");
    match said {
        said if others.is_empty() => said,
        Some(said) => Some(format!("{said}; on the processor: {others}")),
        None => Some(format!("computing on the processor: no GPU is of use to {others}")),
    }
}

fn settle_steps(graph: &mut Graph, wanted: Wanted) -> Option<String> {
    let able = graph.steps.node_weights().find_map(|step| step.kind.on_device)?;
    let mut devices: Vec<&mut Hardware> =
        graph.steps.node_weights_mut().filter_map(|step| step.device.as_mut()).collect();
    let (all, why) = match wanted {
        Wanted::Cpu => (Some(Hardware::Cpu), "--device asks for it".to_owned()),
        Wanted::Cuda(_) => (Some(Hardware::Cuda), "--device asks for it".to_owned()),
        Wanted::Auto => match (able.gpus)() {
            Ok(found) => (Some(Hardware::Cuda), found.iter().map(shown).collect::<Vec<_>>().join(", ")),
            Err(why) => (None, why.clone()),
        },
    };
    if let Some(all) = all {
        devices.iter_mut().for_each(|device| **device = all);
    }
    let insisting = devices.iter().filter(|device| ***device == Hardware::Cuda).count();
    Some(match (all, insisting) {
        (Some(Hardware::Cuda), _) => format!("computing on a GPU: {why}"),
        (_, 0) => format!("computing on the processor: {why}"),
        (_, count) => format!(
            "computing on the processor but for {count} of {} steps, which ask for a GPU: {why}",
            devices.len()
        ),
    })
}

/// A GPU's description for messages.
pub fn shown(gpu: &Gpu) -> String {
    let Gpu { id, name, memory, capability, identity: _ } = gpu;
    let memory = crate::text::bytes(*memory);
    format!("{id} ({name}, {memory}, compute capability {}.{})", capability.0, capability.1)
}

/// Why `--device cuda` cannot be honoured; `None` if it can, or if no step could use a GPU.
pub fn refusal(graph: &Graph, wanted: Wanted) -> Option<String> {
    let Wanted::Cuda(id) = wanted else { return None };
    if graph.steps.node_weights().all(|step| step.kind.on_device.is_none()) {
        return None;
    }
    match (usable(graph.steps.node_weights().map(|step| step.kind)), id) {
        (Err(why), _) => Some(format!("--device asks for a GPU: {why}")),
        (Ok(found), Some(id)) if found.iter().all(|gpu| gpu.id != id) => {
            let ids: Vec<u32> = found.iter().map(|gpu| gpu.id).collect();
            Some(format!("--device asks for GPU {id}: this program can use {ids:?}"))
        }
        _ => None,
    }
}

/// The GPUs that the first of these kinds with GPU support can use, or why there are none.
pub fn usable(kinds: impl IntoIterator<Item: Borrow<Kind>>) -> &'static Result<Vec<Gpu>, String> {
    static NOBODY: OnceLock<Result<Vec<Gpu>, String>> = OnceLock::new();
    let nobody = || NOBODY.get_or_init(|| Err("no kind of this program computes on a GPU".to_owned()));
    let able = kinds.into_iter().find_map(|kind| kind.borrow().on_device);
    able.map_or_else(nobody, |able| (able.gpus)())
}

/// The name of each GPU, by id, that all processes on the machine agree on: its UUID, if known.
pub fn identities(gpus: &Result<Vec<Gpu>, String>) -> BTreeMap<u32, String> {
    gpus.iter().flatten().map(|gpu| (gpu.id, gpu.identity.clone())).collect()
}

/// The kinds that can compute on a GPU.
pub fn kinds(kinds: &[Kind]) -> Vec<&'static str> {
    kinds.iter().filter(|kind| kind.on_device.is_some()).map(|kind| kind.name).collect()
}

#[cfg(test)]
mod tests {
    use super::{Wanted, settle};
    use crate::graph::Graph;
    use contract::gpu::Gpu;
    use contract::stage::Kind;
    use std::sync::OnceLock;

    fn none() -> &'static Result<Vec<Gpu>, String> {
        static NONE: OnceLock<Result<Vec<Gpu>, String>> = OnceLock::new();
        NONE.get_or_init(|| Err("there is none".to_owned()))
    }

    #[test]
    fn who_asks_for_a_gpu_is_told_what_stays_on_the_processor() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yaml");
        let able = Kind { name: "able", ..command::KIND }.on_device(&[], none);
        let said = |stages: &str, wanted| {
            std::fs::write(&file, format!("stages: {{a: {{kind: command, with: {{run: x}}}}{stages}}}"))
                .unwrap();
            let mut graph = Graph::load(&file, &[command::KIND, able], &[], folder.path()).unwrap();
            settle(&mut graph, wanted)
        };
        let more = ", b: {kind: able, in: {a: a}, with: {run: x}}";
        let both = "computing on a GPU: --device asks for it; on the processor: command";
        assert_eq!(said(more, Wanted::Cuda(None)).as_deref(), Some(both));
        let nobody = "computing on the processor: no GPU is of use to command";
        assert_eq!(said("", Wanted::Cuda(None)).as_deref(), Some(nobody));
        let asked = "computing on the processor: --device asks for it";
        assert_eq!(said(more, Wanted::Cpu).as_deref(), Some(asked));
        assert_eq!(said(more, Wanted::Auto).as_deref(), Some("computing on the processor: there is none"));
        assert_eq!(said("", Wanted::Auto), None);
    }

    #[test]
    fn a_device_is_read_as_it_is_written() {
        for (text, wanted) in [
            ("auto", Wanted::Auto),
            ("cpu", Wanted::Cpu),
            ("cuda", Wanted::Cuda(None)),
            ("cuda:3", Wanted::Cuda(Some(3))),
        ] {
            assert_eq!(text.parse(), Ok(wanted));
        }
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda3", "cuda:-1"] {
            assert!(text.parse::<Wanted>().is_err(), "{text}");
        }
    }
}
