//! The model inside the server.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::{Preparation, Provider, ProviderError};
use crate::domain::Vector;
use crate::embed::install::{self, InstallError};
use crate::embed::minilm::LoadError;
use crate::embed::pool::Stop;
use crate::embed::{Isa, MiniLm, Precision, Tokenizer};

/// The provider `minilm`.
pub(super) struct Local {
    tokenizer: Tokenizer,
    model: MiniLm,
}

impl Local {
    /// Installs the model if it is not there, and loads it. Files that turn out to be damaged are
    /// fetched again, once.
    pub(super) fn prepare(
        models: &Path,
        precise: bool,
        stop: &Stop,
        progress: &mut dyn FnMut(Preparation),
    ) -> Result<Self, ProviderError> {
        match Self::install_and_load(models, precise, stop, progress) {
            Err(ProviderError::Install(InstallError::Weights(LoadError::Damaged {
                path,
                what,
            }))) => {
                tracing::warn!(path = %path.display(), what, "the model is fetched again");
                install::discard(models)?;
                Self::install_and_load(models, precise, stop, progress)
            }
            other => other,
        }
    }

    fn install_and_load(
        models: &Path,
        precise: bool,
        stop: &Stop,
        progress: &mut dyn FnMut(Preparation),
    ) -> Result<Self, ProviderError> {
        let installed = install::install(models, precise, &mut |stage| {
            progress(Preparation::Installing(stage));
            if stop.is_set() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        progress(Preparation::Loading);
        let started = Instant::now();
        let (path, precision) = match &installed.precise {
            Some(published) if precise => (published, Precision::F32),
            _ => (&installed.rounded, Precision::Int8),
        };
        let tokenizer = Tokenizer::load(&installed.tokenizer)?;
        let model = MiniLm::load(path, precision, Isa::best()).map_err(InstallError::from)?;
        tracing::info!(
            kernels = model.isa().name(),
            precise,
            milliseconds = started.elapsed().as_millis() as u64,
            "the embedding model is loaded"
        );
        Ok(Self { tokenizer, model })
    }
}

impl Provider for Local {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, ProviderError> {
        let vector = |text: &&str| -> Result<Vector, ProviderError> {
            Ok(Arc::from(self.model.embed(&self.tokenizer.tokens(text)?)))
        };
        texts.iter().map(vector).collect()
    }
}
