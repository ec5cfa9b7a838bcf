//! `init`: creates a first pipeline that users can change.

use clap::Args;
use contract::disk;
use engine::error::{Error, Result};
use results::output;
use std::path::{Path, PathBuf};

/// The files of a new project: paths and contents.
const FILES: [(&str, &str); 5] = [
    ("pipelines/words.yaml", include_str!("../../pipelines/words.yaml")),
    ("pipelines/quickstart.yaml", include_str!("../../pipelines/quickstart.yaml")),
    ("pipelines/data/words.txt", include_str!("../../pipelines/data/words.txt")),
    ("pipelines/scripts/count.py", include_str!("../../pipelines/scripts/count.py")),
    (".gitignore", "/cache\n"),
];

/// Create a first pipeline to start from
#[derive(Args)]
pub struct Init {
    /// The project's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Init {
    pub fn run(self) -> Result<u8> {
        let there = |(path, _): &&(&str, &str)| *path != ".gitignore" && self.folder.join(path).exists();
        if let Some((path, _)) = FILES.iter().find(there) {
            let path = self.folder.join(path);
            return Err(Error::Usage(format!("{} is there already; give another folder", path.display())));
        }
        let mut written = Vec::new();
        for (path, content) in FILES {
            let path = self.folder.join(path);
            if path.exists() {
                continue; // Keeps the project's own .gitignore.
            }
            disk::create_folders(path.parent().unwrap_or(Path::new(".")))?;
            disk::write(&path, content.as_bytes())?;
            written.push(path);
        }
        if self.json {
            output::write_json(&written)?;
            return Ok(0);
        }
        let lines: String = written.iter().map(|path| format!("wrote {}\n", path.display())).collect();
        let file = self.folder.join("pipelines/words.yaml");
        output::write(&format!("{lines}run it with: pipeline run {}\n", file.display()))?;
        Ok(0)
    }
}
