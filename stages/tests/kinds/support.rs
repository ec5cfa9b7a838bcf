//! Runs a kind on real folders.

use contract::checkpoint::Checkpoints;
use contract::stage::{Device, Io, Report, StopFlag, Wires};
use contract::warden::Wardens;
use data::cells::{self, CellReader};
use data::genes;
use data::pairs::{self, Pair, Part};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tempfile::TempDir;

/// What a step left behind.
pub struct Outcome {
    /// What it returned.
    pub result: anyhow::Result<()>,
    /// Its warnings, in order.
    pub warnings: Vec<String>,
    folder: TempDir,
}

impl Outcome {
    /// The artifact's folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// One file of it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Its error with all that it came from, on one line.
    pub fn error(&self) -> String {
        format!("{:#}", self.result.as_ref().expect_err("the step should fail"))
    }

    /// The same outcome of a step that should be done.
    pub fn done(self) -> Outcome {
        if let Err(error) = &self.result {
            panic!("{error:#}");
        }
        self
    }

    /// Genes and cells as a dense matrix of cells × genes.
    pub fn matrix(&self) -> (Vec<String>, Vec<String>, Vec<Vec<f32>>) {
        let genes = genes::read(&self.file(genes::FILE)).unwrap();
        let (mut ids, mut rows) = (Vec::new(), Vec::new());
        for batch in CellReader::open(&self.file(cells::FILE), genes.len()).unwrap() {
            for (id, indices, values) in batch.unwrap().cells() {
                let mut row = vec![0.0; genes.len()];
                indices.iter().zip(values).for_each(|(index, value)| row[*index as usize] = *value);
                ids.push(id.to_owned());
                rows.push(row);
            }
        }
        (genes, ids, rows)
    }
}

/// Checks and runs a kind with params, as a pipeline file writes them, on files by slot.
pub fn run(kind: &str, params: Value, inputs: &[(&str, &Path)]) -> Outcome {
    run_on(Device::Cpu, kind, params, inputs)
}

/// The same on a device.
pub fn run_on(device: Device, kind: &str, params: Value, inputs: &[(&str, &Path)]) -> Outcome {
    let kind = stages::KINDS.iter().find(|known| known.name == kind).expect("a kind of this name");
    let prepared = (kind.prepare)(&params).unwrap_or_else(|error| panic!("{error:?}"));
    let folder = TempDir::new().unwrap();
    let [out, work] = ["out", "work"].map(|name| folder.path().join(name));
    std::fs::create_dir(&out).unwrap();
    std::fs::create_dir(&work).unwrap();
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let heard = warnings.clone();
    let io = Io {
        step: kind.name.to_owned(),
        root: folder.path().to_owned(),
        inputs: inputs.iter().map(|(slot, path)| ((*slot).to_owned(), path.to_path_buf())).collect(),
        out,
        work,
        device,
        gpus: Vec::new(),
        cpus: 2,
        stop: StopFlag::default(),
        limit: None,
        began: Instant::now(),
        checkpoints: Checkpoints::in_folder(folder.path().join("checkpoints")),
        wardens: Wardens::default(),
        listener: Box::new(move |report| {
            if let Report::Warning(text) = report {
                heard.lock().unwrap().push(text);
            }
        }),
    };
    let wires: Vec<(&str, Option<&str>)> =
        inputs.iter().map(|(slot, path)| (*slot, path.to_str().filter(|_| path.is_file()))).collect();
    let checked = prepared.stage.check(Wires::new(&wires)).map_err(anyhow::Error::from);
    let result = checked.and_then(|()| prepared.stage.run(&io));
    drop(io);
    let warnings = warnings.lock().unwrap().clone();
    Outcome { result, warnings, folder }
}

/// TF, target, whether it is an edge, and the part it is in.
pub type Row<'a> = (&'a str, &'a str, bool, Part);

/// An artifact of `split` that holds these pairs.
pub fn split(rows: &[Row]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pair =
        |&(tf, target, label, part): &Row| Pair { tf: tf.to_owned(), target: target.to_owned(), label, part };
    pairs::write(&folder.path().join(pairs::FILE), &rows.iter().map(pair).collect::<Vec<_>>()).unwrap();
    folder
}

/// A file or folder of the fixtures.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}
