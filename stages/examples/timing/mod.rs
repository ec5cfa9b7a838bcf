//! What the examples that measure share: their options, how they time a step, and the memory that it took.

use anyhow::{Context, Result, bail};
use std::time::Instant;

/// What the command line says; every option takes a value.
pub struct Options {
    /// `--threads`: on how many everything runs.
    pub threads: usize,
    /// `--repeats`: how many steps are timed.
    pub repeats: usize,
    /// What was chosen of what is measured, or all of it.
    pub chosen: Vec<String>,
}

impl Options {
    /// Reads them. `choice` is the option that names one of `all` and may be given again; `other`
    /// hears of any further option and its value, and says whether it knows it.
    pub fn read(
        repeats: usize,
        choice: &str,
        all: &[&str],
        mut other: impl FnMut(&str, &str) -> Result<bool>,
    ) -> Result<Options> {
        let mut options = Options { threads: 2, repeats, chosen: Vec::new() };
        let mut arguments = std::env::args().skip(1);
        while let Some(option) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{option} needs a value"))?;
            match option.as_str() {
                "--threads" => options.threads = value.parse()?,
                "--repeats" => options.repeats = value.parse()?,
                known if known == choice => options.chosen.push(value),
                further if other(further, &value)? => {}
                _ => bail!("unknown option {option}"),
            }
        }
        if options.chosen.is_empty() {
            options.chosen = all.iter().map(|name| (*name).to_owned()).collect();
        }
        Ok(options)
    }

    /// Does something for each that was chosen where parallel loops find as many threads, as a stage does.
    pub fn each(&self, work: impl Fn(&str) -> Result<()> + Send + Sync) -> Result<()> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build()?;
        pool.install(|| self.chosen.iter().try_for_each(|chosen| work(chosen)))
    }

    /// Prints how long a step takes after the first, and the peak memory in GiB that `memory` finds.
    pub fn time(
        &self,
        name: &str,
        mut step: impl FnMut(),
        memory: impl FnOnce() -> Result<f64>,
    ) -> Result<()> {
        step();
        let timed = (0..self.repeats).map(|_| {
            let start = Instant::now();
            step();
            start.elapsed().as_secs_f64()
        });
        let mut seconds: Vec<f64> = timed.collect();
        seconds.sort_by(f64::total_cmp);
        let (Some(least), median) = (seconds.first(), seconds.get(seconds.len() / 2).unwrap_or(&f64::NAN))
        else {
            bail!("--repeats must be above 0")
        };
        let memory = memory()?;
        println!("{name}: least {least:.4} s, median {median:.4} s, peak memory {memory:.2} GiB");
        Ok(())
    }
}

/// Of the process so far, in GiB, as the kernel counts it.
pub fn peak_memory() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / f64::from(1 << 20))
}
