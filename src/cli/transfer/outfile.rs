//! A file that is there whole or not at all, or standard output.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::client::Failure;

/// Where lines are written to.
pub(super) struct Outfile {
    writer: BufWriter<Box<dyn Write>>,
    /// What is renamed at the end.
    pending: Option<Pending>,
    name: String,
}

struct Pending {
    file: File,
    temporary: PathBuf,
    place: PathBuf,
}

impl Outfile {
    /// Begins a file that will stand at `path`, readable by its owner only since private memories
    /// are in it; or standard output.
    pub(super) fn create(path: Option<&str>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self {
                writer: BufWriter::new(Box::new(std::io::stdout())),
                pending: None,
                name: "standard output".to_owned(),
            });
        };
        let begun = begin(Path::new(path));
        let (writer, pending) =
            begun.map_err(|error| Failure::Failed(format!("{path}: {error}")))?;
        Ok(Self {
            writer: BufWriter::new(writer),
            pending,
            name: path.to_owned(),
        })
    }

    /// Writes a line.
    pub(super) fn write_line(&mut self, line: &str) -> Result<(), Failure> {
        let written = self
            .writer
            .write_all(line.as_bytes())
            .and_then(|()| self.writer.write_all(b"\n"));
        written.map_err(|error| Failure::Failed(format!("{}: {error}", self.name)))
    }

    /// Has everything reach the disk, and then its place.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let finished = self.settle();
        finished.map_err(|error| Failure::Failed(format!("{}: {error}", self.name)))
    }

    fn settle(&mut self) -> std::io::Result<()> {
        self.writer.flush()?;
        let Some(pending) = &self.pending else {
            return Ok(());
        };
        pending.file.sync_all()?;
        std::fs::rename(&pending.temporary, &pending.place)?;
        let place = self.pending.take().map(|pending| pending.place);
        // The name is durable when its directory is.
        match place.as_deref().and_then(Path::parent) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for Outfile {
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            // What was not finished is of no use; a leftover harms nobody.
            let _ = std::fs::remove_file(&pending.temporary);
        }
    }
}

type Begun = (Box<dyn Write>, Option<Pending>);

fn begin(path: &Path) -> std::io::Result<Begun> {
    // A link stays a link: what it leads to is replaced.
    let place = path.canonicalize().or_else(|_| std::path::absolute(path))?;
    match place.metadata() {
        // A device or a pipe is written to; it must not be replaced by a file.
        Ok(found) if !found.is_file() => {
            let file = OpenOptions::new().write(true).open(&place)?;
            return Ok((Box::new(file), None));
        }
        _ => {}
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(place.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    let temporary = place.with_file_name(name);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    let pending = Pending {
        file: file.try_clone()?,
        temporary,
        place,
    };
    Ok((Box::new(file), Some(pending)))
}
