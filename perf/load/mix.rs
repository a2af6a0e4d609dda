//! What `load rate` sends: one message, or several by their weights. Which message comes next, and the number
//! in it, follow from the seed and from how many requests came before.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::call::Call;
use crate::jsonrpc::FIRST_ID;
use crate::message::Message;
use crate::random::{STEP, mixed};
use crate::template::Template;

/// What the answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request, byte by byte.
    Echo,
    /// A result of JSON-RPC with the id of its request.
    JsonRpc,
    /// The body of an HTTP response, which can be told by its connection only.
    Body,
}

/// Numbers differ in so many low bits: with [`FIRST_ID`] added all have ten digits.
const NUMBER_BITS: u32 = 33;

/// Messages by weight.
pub(crate) struct Mix {
    pub(crate) kind: Kind,
    pub(crate) messages: Vec<Message>,
    weights: u64,
    seed: u64,
    /// Numbers repeat after so many.
    distinct: u64,
}

/// A file of messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    message: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// What reports call it.
    name: String,
    weight: u32,
    /// A template, beside the mix unless it is a whole path.
    file: Option<PathBuf>,
    call: Option<Call>,
    /// What every answer has to hold.
    expect: String,
}

impl Mix {
    /// One message again and again.
    pub(crate) fn of(kind: Kind, message: Message) -> Self {
        Self {
            kind,
            weights: u64::from(message.weight),
            messages: vec![message],
            seed: 0,
            distinct: u64::MAX,
        }
    }

    /// The messages of a TOML file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let file: File = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let messages = file.message.iter().map(|entry| entry.message(folder));
        let messages = messages.collect::<anyhow::Result<Vec<_>>>()?;
        let names: BTreeSet<&str> = messages.iter().map(|one| one.name.as_str()).collect();
        ensure!(names.len() == messages.len(), "two messages have one name");
        let weights = messages.iter().map(|one| u64::from(one.weight)).sum();
        ensure!(weights > 0, "no message has a weight");
        Ok(Self {
            kind: Kind::JsonRpc,
            messages,
            weights,
            seed: 0,
            distinct: u64::MAX,
        })
    }

    /// Another order and other numbers.
    pub(crate) fn seeded(self, seed: u64, distinct: Option<u64>) -> Self {
        Self {
            seed: mixed(seed),
            distinct: distinct.unwrap_or(u64::MAX),
            ..self
        }
    }

    /// The place of the message that comes after so many requests.
    pub(crate) fn choose(&self, requests: u64) -> usize {
        if self.messages.len() == 1 {
            return 0;
        }
        let state = self.seed.wrapping_add(requests.wrapping_mul(STEP));
        let mut rest = mixed(state) % self.weights;
        let chosen = self.messages.iter().position(|message| {
            let weight = u64::from(message.weight);
            let is_it = rest < weight;
            rest = rest.saturating_sub(weight);
            is_it
        });
        chosen.unwrap_or_default()
    }

    /// The number of the request that comes after so many: an odd factor and a mask make a different one of each.
    pub(crate) fn number(&self, requests: u64) -> u64 {
        let place = (requests % self.distinct).wrapping_mul(STEP);
        FIRST_ID + (place.wrapping_add(self.seed) & ((1 << NUMBER_BITS) - 1))
    }

    /// Length of a request, the mean by weight if there are several.
    pub(crate) fn request_bytes(&self) -> u64 {
        let weighed = |one: &Message| one.template.len() as u64 * u64::from(one.weight);
        self.messages.iter().map(weighed).sum::<u64>() / self.weights
    }
}

impl Entry {
    fn message(&self, folder: &Path) -> anyhow::Result<Message> {
        let template = match (&self.file, self.call) {
            (Some(file), None) => template_of(&folder.join(file))?,
            (None, Some(call)) => Template::new(call.text()),
            _ => bail!("{} has either a file or a call", self.name),
        };
        let expect = Some(self.expect.as_str());
        Ok(Message::new(&self.name, self.weight, template, expect))
    }
}

/// A request from a file, its id open.
pub(crate) fn template_of(path: &Path) -> anyhow::Result<Template> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let template = Template::new(text.trim());
    ensure!(template.has_id(), "{} has no $ID", path.display());
    Ok(template)
}
