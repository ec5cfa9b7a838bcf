//! Shared by the benchmark examples: their options, the timing of a step, and peak memory.

use anyhow::{Context, Result, bail};
use contract::stage;
use std::time::Instant;
use tensor::device::{Device, Precision};

/// The command line; every option takes a value.
pub struct Options {
    /// `--threads`.
    threads: usize,
    /// `--repeats`: the number of timed steps.
    pub repeats: usize,
    /// The cases to measure: the chosen ones, or all.
    pub chosen: Vec<String>,
    /// `--device`, opened with `--precision`.
    pub device: Device,
}

impl Options {
    /// Parses the command line. `choice` is the option that selects one of `all`; it may be repeated.
    pub fn read(repeats: usize, choice: &str, all: &[&str]) -> Result<Options> {
        let (mut threads, mut repeats, mut chosen) = (2, repeats, Vec::new());
        let (mut given, mut precision) = (stage::Device::Cpu, Precision::F32);
        let mut arguments = std::env::args().skip(1);
        while let Some(option) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{option} needs a value"))?;
            match option.as_str() {
                "--threads" => threads = value.parse()?,
                "--repeats" => repeats = value.parse()?,
                "--device" => given = device(&value)?,
                "--precision" => precision = serde_json::from_value(value.into())?,
                known if known == choice => chosen.push(value),
                _ => bail!("unknown option {option}"),
            }
        }
        if chosen.is_empty() {
            chosen = all.iter().map(|name| (*name).to_owned()).collect();
        }
        Ok(Options { threads, repeats, chosen, device: Device::open(given, precision)? })
    }

    /// Runs `work` for each chosen case in a thread pool of `--threads` threads, like a stage.
    pub fn each(&self, work: impl Fn(&str) -> Result<()> + Send + Sync) -> Result<()> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build()?;
        pool.install(|| self.chosen.iter().try_for_each(|chosen| work(chosen)))
    }

    /// Prints the time of a step, without the first one and including the work on its device, and the peak memory in
    /// GiB: on a card the memory in use, else that of the process so far.
    pub fn time(&self, name: &str, mut step: impl FnMut()) -> Result<()> {
        let mut timed = || {
            let start = Instant::now();
            step();
            if let Some(card) = self.device.card() {
                card.wait();
            }
            start.elapsed().as_secs_f64()
        };
        timed();
        let mut seconds: Vec<f64> = (0..self.repeats).map(|_| timed()).collect();
        seconds.sort_by(f64::total_cmp);
        let (Some(least), median) = (seconds.first(), seconds.get(seconds.len() / 2).unwrap_or(&f64::NAN))
        else {
            bail!("--repeats must be above 0")
        };
        let memory = match self.device.card() {
            Some(card) => card.peak() as f64 / f64::from(1 << 30),
            None => peak_memory()?,
        };
        println!("{name}: least {least:.4} s, median {median:.4} s, peak memory {memory:.2} GiB");
        Ok(())
    }
}

/// Parses `--device`.
fn device(name: &str) -> Result<stage::Device> {
    Ok(match (name, name.strip_prefix("cuda:")) {
        ("cpu", _) => stage::Device::Cpu,
        // The emulator, in a build that includes it.
        ("emulator", _) => stage::Device::Cuda(u32::MAX),
        (_, Some(id)) => stage::Device::Cuda(id.parse()?),
        _ => bail!("--device is cpu, cuda:N or emulator"),
    })
}

/// The peak memory of the process so far, in GiB, from the kernel.
fn peak_memory() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / f64::from(1 << 20))
}
