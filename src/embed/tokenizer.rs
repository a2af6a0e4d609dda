//! From a text to the tokens of the model.

use std::path::Path;

use tokenizers::TruncationParams;

use super::minilm::TOKENS_MAX;

/// Bytes of a text that are looked at: 256 tokens are some 1,200 of them, and a document of a
/// megabyte need not be split to the end.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// The tokenizer that a model comes with.
pub struct Tokenizer(tokenizers::Tokenizer);

/// A tokenizer that could not be read, or a text that it could not read.
#[derive(Debug, thiserror::Error)]
#[error("the tokenizer failed: {0}")]
pub struct TokenizerError(String);

impl Tokenizer {
    /// Reads `tokenizer.json`.
    pub fn load(path: &Path) -> Result<Self, TokenizerError> {
        let failed = |error: tokenizers::Error| TokenizerError(error.to_string());
        let mut tokenizer = tokenizers::Tokenizer::from_file(path).map_err(failed)?;
        // The file asks for 128 tokens, always; the model was made for up to 256, and texts are
        // embedded one by one.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: TOKENS_MAX,
                ..TruncationParams::default()
            }))
            .map_err(failed)?;
        Ok(Self(tokenizer))
    }

    /// The tokens of a text, its beginning and its end among them.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        let encoding = self.0.encode_fast(text, true);
        encoding
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| TokenizerError(error.to_string()))
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokenizer")
    }
}
