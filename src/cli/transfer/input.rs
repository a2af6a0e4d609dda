//! The file that memories are read from, line by line, as often as need be.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;

use super::super::client::Failure;
use super::{backup, legacy};
use crate::domain::Record;
use crate::operations::{Misfit, read_record};
use crate::rpc::json::is_too_deep;

/// Bytes of one line: a memory with thousands of versions fits, a file that is none of ours does
/// not fill the memory.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// Lines of JSON that can be read more than once.
pub(super) struct Input {
    name: String,
    reader: BufReader<File>,
    bytes: u64,
    position: u64,
    number: u64,
    buffer: Vec<u8>,
}

/// A record and where it stands.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) bytes: usize,
    pub(super) record: Record,
}

impl Input {
    /// Opens the file at `path`; what cannot be read twice is copied into a file without a name.
    pub(super) fn open(path: &str) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::Failed(format!("{path}: {error}"));
        let (name, file) = if path == "-" {
            let file = keep(&mut std::io::stdin().lock()).map_err(failed)?;
            ("standard input".to_owned(), file)
        } else {
            let mut file = File::open(path).map_err(failed)?;
            if !file.metadata().map_err(failed)?.is_file() {
                file = keep(&mut file).map_err(failed)?;
            }
            (path.to_owned(), file)
        };
        let bytes = file.metadata().map_err(failed)?.len();
        Ok(Self {
            name,
            reader: BufReader::new(file),
            bytes,
            position: 0,
            number: 0,
            buffer: Vec::new(),
        })
    }

    /// Bytes of the whole input.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Back to the first line.
    pub(super) fn rewind(&mut self) -> Result<(), Failure> {
        self.reader.rewind().map_err(|error| self.failed(&error))?;
        (self.position, self.number) = (0, 0);
        Ok(())
    }

    /// The next line with its line feed, if it has one; nothing at the end.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.buffer.clear();
        let mut bounded = (&mut self.reader).take(LINE_BYTES_MAX);
        let read = bounded
            .read_until(b'\n', &mut self.buffer)
            .map_err(|error| Failure::Failed(format!("{}: {error}", self.name)))?;
        self.position += read as u64;
        self.number += 1;
        if read as u64 == LINE_BYTES_MAX {
            return Err(self.misfit(self.number, &"the line is too long"));
        }
        Ok((read > 0).then_some(&self.buffer))
    }

    /// The next record, past blank lines and what surrounds the records of a backup.
    pub(super) fn next_record(&mut self) -> Result<Option<Line>, Failure> {
        loop {
            if self.next_line()?.is_none() {
                return Ok(None);
            }
            let read = match std::str::from_utf8(&self.buffer).map(str::trim) {
                Ok("") => continue,
                Ok(line) if backup::surrounds(line) => continue,
                Ok(line) => read(line),
                Err(_) => Err(Misfit::new("", "it is not UTF-8")),
            };
            let record = read.map_err(|misfit| self.misfit(self.number, &misfit))?;
            return Ok(Some(Line {
                number: self.number,
                bytes: self.buffer.len(),
                record,
            }));
        }
    }

    /// The failure of a line.
    pub(super) fn misfit(&self, number: u64, problem: &dyn std::fmt::Display) -> Failure {
        Failure::Failed(format!("{}, line {number}: {problem}", self.name))
    }

    /// A failure of the whole input.
    pub(super) fn failed(&self, problem: &dyn std::fmt::Display) -> Failure {
        Failure::Failed(format!("{}: {problem}", self.name))
    }
}

/// Reads a line of either layout. How long a text may be is for the store to say.
fn read(line: &str) -> Result<Record, Misfit> {
    if is_too_deep(line) {
        return Err(Misfit::new("", "it nests too deep"));
    }
    if legacy::is(line) {
        legacy::read(line)
    } else {
        read_record(line, usize::MAX)
    }
}

/// Copies what can be read only once into a file that goes when it is closed.
fn keep(from: &mut dyn Read) -> std::io::Result<File> {
    let name = format!(
        ".tmws-import-{}-{}",
        std::process::id(),
        uuid::Uuid::new_v4()
    );
    let path = std::env::temp_dir().join(name);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    std::io::copy(from, &mut file)?;
    file.rewind()?;
    Ok(file)
}
