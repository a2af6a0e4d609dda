//! The settings of embedding, and what of them fits together.

use std::path::{Path, PathBuf};

use super::secret::Secret;
use super::sources::{Problem, Problems, Settings, gather};

/// The one model that runs inside the server.
const MINILM: &str = "all-MiniLM-L6-v2";
/// Other names that people have for it, in lower case.
const MINILM_ALIASES: [&str; 3] = [
    "minilm",
    "all-minilm-l6-v2",
    "sentence-transformers/all-minilm-l6-v2",
];
/// Length of its vectors.
const MINILM_DIMENSION: usize = 384;

/// What an embedding service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddingApi {
    /// `POST /v1/embeddings`.
    OpenAi,
    /// `POST /api/embed`.
    Ollama,
}

/// Who makes vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbeddingProvider {
    /// Nobody: memories are found by their words.
    Off,
    /// The model inside the server.
    MiniLm {
        /// With unrounded weights.
        precise: bool,
    },
    /// A service.
    Http {
        /// Its address.
        url: String,
        /// What it speaks.
        api: EmbeddingApi,
        /// Its key, if it wants one.
        key: Option<Secret>,
    },
    /// Hashed words, without a model.
    Static,
}

/// How texts become vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedding {
    /// Who makes them.
    pub provider: EmbeddingProvider,
    /// Name of the model.
    pub model: String,
    /// Length of its vectors.
    pub dimension: usize,
    /// Threads that compute; one per core unless set.
    pub threads: Option<usize>,
    /// Vectors of queries that are kept.
    pub cache_size: usize,
    /// Directory of installed models.
    pub model_dir: PathBuf,
}

impl Embedding {
    pub(super) fn from_settings(settings: &Settings, problems: &mut Vec<Problem>) -> Self {
        let named = settings.text("embedding_model").trim();
        let dimension = settings.integer("vector_dimension") as usize;
        let (provider, model) = if named.eq_ignore_ascii_case("none") {
            (EmbeddingProvider::Off, "none")
        } else {
            match settings.text("embedding_provider") {
                "http" => (http(settings, problems), named),
                "static" => (EmbeddingProvider::Static, "static"),
                _ => {
                    check_minilm(named, dimension, problems);
                    let precise = settings.boolean("embedding_precise");
                    (EmbeddingProvider::MiniLm { precise }, MINILM)
                }
            }
        };
        Self {
            provider,
            model: model.to_owned(),
            dimension,
            threads: Some(settings.integer("embedding_threads") as usize).filter(|&n| n > 0),
            cache_size: settings.integer("max_cache_size") as usize,
            model_dir: match settings.text("model_dir") {
                "" => model_dir_default(),
                dir => dir.into(),
            },
        }
    }
}

impl Embedding {
    /// The settings of a change to another model while the server runs: `settings` by key over the
    /// defaults; what is this machine's (threads, cache, directory, the key of the service) stays.
    pub fn switched(&self, settings: &[(&str, String)]) -> Result<Self, String> {
        let flags: Vec<_> = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        let settings = gather(None, &[], &flags).map_err(|problems| problems.to_string())?;
        let mut problems = Vec::new();
        let mut to = Self::from_settings(&settings, &mut problems);
        if !problems.is_empty() {
            return Err(Problems(problems).to_string());
        }
        to.threads = self.threads;
        to.cache_size = self.cache_size;
        to.model_dir.clone_from(&self.model_dir);
        if let (EmbeddingProvider::Http { key: new, .. }, EmbeddingProvider::Http { key, .. }) =
            (&mut to.provider, &self.provider)
        {
            new.clone_from(key);
        }
        Ok(to)
    }
}

fn check_minilm(named: &str, dimension: usize, problems: &mut Vec<Problem>) {
    if !MINILM_ALIASES.contains(&named.to_ascii_lowercase().as_str()) {
        problems.push(Problem::of(
            "embedding_model",
            format!(
                "{named:?} is not inside this server; name {MINILM} or none, \
                 or let a service make vectors with embedding_provider = \"http\""
            ),
        ));
    }
    if dimension != MINILM_DIMENSION {
        problems.push(Problem::of(
            "vector_dimension",
            format!(
                "{MINILM} makes vectors of {MINILM_DIMENSION} numbers, not {dimension}; \
                 set vector_dimension to {MINILM_DIMENSION} or leave it out"
            ),
        ));
    }
}

fn http(settings: &Settings, problems: &mut Vec<Problem>) -> EmbeddingProvider {
    let url = settings.text("embedding_url").trim();
    if !url.starts_with("http://") && !url.starts_with("https://") {
        problems.push(Problem::of(
            "embedding_url",
            "the http provider needs the address of its service, \
             such as http://127.0.0.1:11434/api/embed",
        ));
    }
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let api = match settings.text("embedding_api") {
        "openai" => EmbeddingApi::OpenAi,
        "ollama" => EmbeddingApi::Ollama,
        _ if path.trim_end_matches('/').ends_with("/api/embed") => EmbeddingApi::Ollama,
        _ => EmbeddingApi::OpenAi,
    };
    EmbeddingProvider::Http {
        url: url.to_owned(),
        api,
        key: Secret::new(settings.text("embedding_api_key")),
    }
}

/// Where the user's programs keep data, or beside the server where there is no home.
fn model_dir_default() -> PathBuf {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(|| Path::new(".").to_owned())
        .join("tmws/models")
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Problems, gather, print};
    use super::{EmbeddingApi, EmbeddingProvider};

    fn load(file: &str) -> Result<super::Embedding, Problems> {
        let settings = gather(Some(file), &[], &[])?;
        Config::from_settings(&settings).map(|config| config.embedding)
    }

    #[test]
    fn the_model_inside_the_server_is_the_default() {
        let embedding = load("").unwrap();
        assert_eq!(embedding.model, "all-MiniLM-L6-v2");
        assert_eq!(embedding.dimension, 384);
        assert_eq!(embedding.cache_size, 1000);
        assert_eq!(
            embedding.provider,
            EmbeddingProvider::MiniLm { precise: false }
        );
    }

    #[test]
    fn other_names_of_the_model_are_accepted() {
        for name in [
            "MiniLM",
            "all-minilm-l6-v2",
            "sentence-transformers/all-MiniLM-L6-v2",
        ] {
            let embedding = load(&format!("embedding_model = {name:?}")).unwrap();
            assert_eq!(embedding.model, "all-MiniLM-L6-v2");
        }
        let refusal = load("embedding_model = \"bge-m3\"").unwrap_err();
        assert!(refusal.to_string().contains("http"), "{refusal}");
    }

    #[test]
    fn none_turns_meaning_off_whoever_would_provide_it() {
        for file in ["", "embedding_provider = \"http\"\n"] {
            let embedding = load(&format!("{file}embedding_model = \"NONE\"")).unwrap();
            assert_eq!(embedding.provider, EmbeddingProvider::Off);
        }
    }

    #[test]
    fn a_dimension_that_the_model_has_not_is_refused() {
        let refusal = load("vector_dimension = 768").unwrap_err().to_string();
        assert!(refusal.contains("set vector_dimension to 384"), "{refusal}");
        let file = "vector_dimension = 768\nembedding_provider = \"static\"";
        assert_eq!(load(file).unwrap().dimension, 768);
    }

    #[test]
    fn the_interface_of_a_service_follows_from_its_address() {
        let api = |file: &str| match load(file).unwrap().provider {
            EmbeddingProvider::Http { api, .. } => api,
            other => panic!("{other:?}"),
        };
        let http = "embedding_provider = \"http\"\nembedding_url = ";
        let ollama = format!("{http}\"http://127.0.0.1:11434/api/embed\"");
        assert_eq!(api(&ollama), EmbeddingApi::Ollama);
        assert_eq!(
            api(&format!("{http}\"https://e.example/v1/embeddings\"")),
            EmbeddingApi::OpenAi
        );
        assert_eq!(
            api(&format!("{ollama}\nembedding_api = \"openai\"")),
            EmbeddingApi::OpenAi
        );
        let refusal = load("embedding_provider = \"http\"").unwrap_err();
        assert!(refusal.to_string().contains("embedding_url"), "{refusal}");
    }

    #[test]
    fn the_key_of_a_service_is_never_shown() {
        let file = "embedding_provider = \"http\"\nembedding_url = \"http://e.example/\"\n\
                    embedding_api_key = \"s3cr3t-value\"";
        let settings = gather(Some(file), &[], &[]).unwrap();
        assert!(!print(&settings).contains("s3cr3t-value"));
        let config = Config::from_settings(&settings).unwrap();
        assert!(!format!("{config:?}").contains("s3cr3t-value"));
    }
}
