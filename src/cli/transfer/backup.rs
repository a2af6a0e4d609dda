//! The file of a backup: records between a header and a trailer that proves them whole.
//!
//! ```text
//! {"format":"tmws-backup","version":1,"created_at":...,"program":...}
//! {"memory":...}                                   one line for each memory
//! {"end":"tmws-backup","records":N,"sha256":"..."} of everything before this line
//! ```

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::client::Failure;
use super::input::Input;
use super::outfile::Outfile;
use crate::domain::Timestamp;

const FORMAT: &str = "tmws-backup";
/// Raised when an older program could not read the file any more.
const VERSION: u32 = 1;
/// How a header begins, before whatever else a later version may say.
const HEADER_START: &str = r#"{"format":"tmws-backup""#;
/// How a trailer begins; no record does.
const TRAILER_START: &str = r#"{"end":"tmws-backup""#;

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    format: &'a str,
    version: u32,
    created_at: Timestamp,
    program: &'a str,
}

/// The last line.
#[derive(Serialize, Deserialize)]
pub(super) struct Trailer {
    end: String,
    pub(super) records: u64,
    pub(super) sha256: String,
}

/// True for the lines of a backup that are no records.
pub(super) fn surrounds(line: &str) -> bool {
    line.starts_with(HEADER_START) || line.starts_with(TRAILER_START)
}

/// A backup that is being written.
pub(super) struct Seal {
    out: Outfile,
    hash: Sha256,
    records: u64,
}

impl Seal {
    pub(super) fn begin(out: Outfile) -> Result<Self, Failure> {
        let mut seal = Self {
            out,
            hash: Sha256::new(),
            records: 0,
        };
        let header = Header {
            format: FORMAT,
            version: VERSION,
            created_at: Timestamp::now(),
            program: env!("CARGO_PKG_VERSION"),
        };
        seal.write(&json(&header)?)?;
        Ok(seal)
    }

    pub(super) fn write_record(&mut self, line: &str) -> Result<(), Failure> {
        self.records += 1;
        self.write(line)
    }

    fn write(&mut self, line: &str) -> Result<(), Failure> {
        self.hash.update(line.as_bytes());
        self.hash.update(b"\n");
        self.out.write_line(line)
    }

    /// Writes the trailer and puts the file into its place.
    pub(super) fn finish(mut self) -> Result<Trailer, Failure> {
        let trailer = Trailer {
            end: FORMAT.to_owned(),
            records: self.records,
            sha256: hex(self.hash),
        };
        self.out.write_line(&json(&trailer)?)?;
        self.out.finish()?;
        Ok(trailer)
    }
}

/// Reads the whole file and refuses it unless it is what was once written.
pub(super) fn verify(input: &mut Input) -> Result<(), Failure> {
    check_header(input)?;
    input.rewind()?;
    let mut hash = Sha256::new();
    let mut lines = 0_u64;
    let trailer = loop {
        match input.next_line()? {
            None => return Err(input.failed(&"the backup is cut off: it has no last line")),
            Some(line) if line.starts_with(TRAILER_START.as_bytes()) => {
                break sonic_rs::from_slice::<Trailer>(line).ok();
            }
            Some(line) => {
                hash.update(line);
                lines += 1;
            }
        }
    };
    let whole = trailer.is_some_and(|trailer| {
        // The header is a line too.
        trailer.records + 1 == lines && trailer.sha256 == hex(hash)
    });
    if !whole || input.next_line()?.is_some() {
        return Err(input.failed(&"the backup is damaged: its checksum does not match"));
    }
    Ok(())
}

fn check_header(input: &mut Input) -> Result<(), Failure> {
    input.rewind()?;
    let header = input.next_line()?.unwrap_or_default();
    if !header.starts_with(HEADER_START.as_bytes()) {
        return Err(input.failed(&"this is no backup of tmws; tmws import reads exports"));
    }
    match sonic_rs::from_slice::<Header<'_>>(header).map(|header| header.version) {
        Ok(VERSION) => Ok(()),
        Ok(version) => {
            let problem = format!(
                "the backup has version {version}, this program knows {VERSION}; use a newer tmws"
            );
            Err(input.failed(&problem))
        }
        Err(_) => Err(input.failed(&"the backup is damaged: its first line cannot be read")),
    }
}

fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    sonic_rs::to_string(value).map_err(|error| Failure::Failed(error.to_string()))
}

fn hex(hash: Sha256) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(64);
    for byte in hash.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
