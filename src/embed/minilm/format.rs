//! The file of rounded weights that an installation writes and a start reads.
//!
//! Eight bytes that say what it is, a version, the weights in the order in which they are used,
//! and the SHA-256 of all that. Numbers are little-endian; their counts follow from the model.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::checkpoint::{Checkpoint, PlainLinear};
use super::error::LoadError;
use super::weights::{Layer, Linear, Norm, Weights, Words};
use super::{INNER, LAYERS, TOKENS_MAX, VOCABULARY, WIDTH, attention, quantised};
use crate::embed::kernels::{Int8Matrix, Isa, Rounded};

const MAGIC: [u8; 8] = *b"tmwsMiLM";
/// Raised with every change of the format or of the rounding.
const VERSION: u32 = 1;

/// True if the file begins like one that this version reads.
pub(in crate::embed) fn is_current(path: &Path) -> bool {
    let mut head = [0; MAGIC.len() + 4];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut head))
        .is_ok()
        && head.starts_with(&MAGIC)
        && head.ends_with(&VERSION.to_le_bytes())
}

/// Rounds a published checkpoint and writes the result.
pub(in crate::embed) fn write(checkpoint: &Checkpoint, path: &Path) -> Result<(), LoadError> {
    let file_error = LoadError::file(path);
    let tensors = checkpoint.tensors()?;
    let mut out = Output {
        to: BufWriter::new(File::create(path).map_err(&file_error)?),
        hash: Sha256::new(),
    };
    let head = |out: &mut Output| {
        out.bytes(&MAGIC)?;
        out.bytes(&VERSION.to_le_bytes())
    };
    head(&mut out).map_err(&file_error)?;
    let embeddings = tensors.embeddings()?;
    let (words, scale) = quantised::words(&embeddings.words);
    let start = |out: &mut Output| {
        out.numbers(&scale)?;
        out.levels(&words)?;
        out.numbers(&embeddings.positions)?;
        out.norm(&embeddings.norm)
    };
    start(&mut out).map_err(&file_error)?;
    for index in 0..LAYERS {
        let layer = tensors.layer(index)?;
        let rest = |out: &mut Output| {
            out.linear(layer.split, quantised::with_outliers)?;
            out.linear(layer.join, quantised::without_outliers)?;
            out.norm(&layer.join_norm)?;
            out.linear(layer.widen, quantised::with_outliers)?;
            out.linear(layer.narrow, quantised::without_outliers)?;
            out.norm(&layer.narrow_norm)
        };
        rest(&mut out).map_err(&file_error)?;
    }
    out.finish().map_err(&file_error)
}

/// Reads what [`write()`] wrote, and packs it for an instruction set.
pub(super) fn read(path: &Path, isa: Isa) -> Result<Weights, LoadError> {
    let damaged = LoadError::damaged(path);
    if !is_current(path) {
        return Err(damaged(
            "it is of another version, or nothing of ours".to_owned(),
        ));
    }
    let file = File::open(path).map_err(LoadError::file(path))?;
    let mut input = Input {
        from: BufReader::with_capacity(1 << 18, file),
        hash: Sha256::new(),
        isa,
    };
    match input.weights() {
        Ok((weights, true)) => Ok(weights),
        Ok((_, false)) => Err(damaged("its checksum is wrong".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(damaged(error.to_string())),
        Err(error) => Err(LoadError::file(path)(error)),
    }
}

struct Output {
    to: BufWriter<File>,
    hash: Sha256,
}

impl Output {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.to.write_all(bytes)
    }

    fn numbers(&mut self, numbers: &[f32]) -> io::Result<()> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.bytes(&bytes)
    }

    fn levels(&mut self, levels: &[i8]) -> io::Result<()> {
        let bytes: Vec<u8> = levels.iter().map(|level| level.cast_unsigned()).collect();
        self.bytes(&bytes)
    }

    fn norm(&mut self, norm: &Norm) -> io::Result<()> {
        self.numbers(&norm.gain)?;
        self.numbers(&norm.shift)
    }

    fn linear(&mut self, plain: PlainLinear, round: fn(PlainLinear) -> Rounded) -> io::Result<()> {
        let rounded = round(plain);
        self.bytes(&(rounded.outliers.len() as u32).to_le_bytes())?;
        for (input, weights) in &rounded.outliers {
            self.bytes(&(*input as u32).to_le_bytes())?;
            self.numbers(weights)?;
        }
        self.numbers(&rounded.bias)?;
        self.numbers(&rounded.scale)?;
        self.levels(&rounded.weights)
    }

    fn finish(mut self) -> io::Result<()> {
        let hash = self.hash.finalize();
        self.to.write_all(&hash)?;
        self.to.into_inner()?.sync_all()
    }
}

struct Input {
    from: BufReader<File>,
    hash: Sha256,
    isa: Isa,
}

impl Input {
    /// The weights, and whether the checksum is theirs.
    fn weights(&mut self) -> io::Result<(Weights, bool)> {
        self.bytes(MAGIC.len() + 4)?;
        let scale = self.numbers(VOCABULARY)?;
        let numbers = self.levels(VOCABULARY * WIDTH)?;
        let positions = self.numbers(TOKENS_MAX * WIDTH)?;
        let weights = Weights {
            words: Words::Int8 { numbers, scale },
            positions,
            norm: self.norm()?,
            layers: (0..LAYERS)
                .map(|_| self.layer())
                .collect::<Result<_, _>>()?,
        };
        let computed = self.hash.finalize_reset();
        let mut stored = [0; 32];
        self.from.read_exact(&mut stored)?;
        let end = self.from.read(&mut [0])? == 0;
        Ok((weights, end && computed[..] == stored))
    }

    fn layer(&mut self) -> io::Result<Layer> {
        Ok(Layer {
            split: self.linear(WIDTH, attention::SPLIT_WIDTH)?,
            join: self.linear(WIDTH, WIDTH)?,
            join_norm: self.norm()?,
            widen: self.linear(WIDTH, INNER)?,
            narrow: self.linear(INNER, WIDTH)?,
            narrow_norm: self.norm()?,
        })
    }

    fn linear(&mut self, inputs: usize, outputs: usize) -> io::Result<Linear> {
        let unsound = || io::Error::new(io::ErrorKind::InvalidData, "its weights make no sense");
        let count = self.count()?;
        if count > inputs {
            return Err(unsound());
        }
        let outliers = (0..count).map(|_| Ok((self.count()?, self.numbers(outputs)?)));
        let outliers = outliers.collect::<io::Result<_>>()?;
        let bias = self.numbers(outputs)?;
        let rounded = Rounded {
            outliers,
            bias,
            scale: self.numbers(outputs)?,
            weights: self.levels(inputs * outputs)?,
        };
        let matrix = Int8Matrix::new(self.isa, rounded).ok_or_else(unsound)?;
        Ok(Linear::Int8(matrix))
    }

    fn norm(&mut self) -> io::Result<Norm> {
        Ok(Norm {
            gain: self.numbers(WIDTH)?,
            shift: self.numbers(WIDTH)?,
        })
    }

    fn count(&mut self) -> io::Result<usize> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    }

    fn numbers(&mut self, count: usize) -> io::Result<Vec<f32>> {
        let bytes = self.bytes(4 * count)?;
        let numbers = bytes.as_chunks::<4>().0.iter();
        Ok(numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    fn levels(&mut self, count: usize) -> io::Result<Vec<i8>> {
        // The library turns the vector over in place.
        let bytes = self.bytes(count)?.into_iter();
        Ok(bytes.map(u8::cast_signed).collect())
    }

    fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.from.read_exact(&mut bytes)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }
}
