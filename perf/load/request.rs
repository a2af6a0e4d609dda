//! What `load rate` is told to send.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use crate::call::Call;
use crate::message::Message;
use crate::mix::{Kind, Mix, template_of};
use crate::rest::Route;
use crate::target::Target;
use crate::template::Template;

/// The flags; --rest may have a --message, everything else stands alone.
#[derive(Args)]
#[group(id = "what", required = true, multiple = true)]
pub(crate) struct What {
    /// A JSON-RPC request from a file, or the body of --rest. In it $ID is the id, and $NUMBER a number that
    /// differs in every request
    #[arg(long, conflicts_with_all = ["call", "echo", "mix"])]
    message: Option<PathBuf>,
    /// A request of this tool
    #[arg(long, conflicts_with_all = ["echo", "mix", "rest"])]
    call: Option<Call>,
    /// Text of this many bytes, which the server sends back
    #[arg(long, conflicts_with_all = ["mix", "rest"], value_parser = clap::value_parser!(u32).range(16..=65_536))]
    echo: Option<u32>,
    /// Messages by weight, from a TOML file: of each [[message]] its name, weight, file or call, and what its
    /// answers have to hold (expect)
    #[arg(long, conflicts_with = "rest")]
    mix: Option<PathBuf>,
    /// "METHOD /path" of plain HTTP, answered with 200
    #[arg(long)]
    rest: Option<Route>,
}

impl What {
    /// The messages, as they go to this target, and what their answers have to hold unless a mix says it.
    pub(crate) fn mix(&self, target: &Target, expect: Option<&str>) -> anyhow::Result<Mix> {
        let message = |name, template| Message::new(name, 1, template, expect);
        if let Some(path) = &self.mix {
            return Mix::read(path);
        }
        if let Some(route) = &self.rest {
            let body = self.message.as_ref().map(|path| {
                std::fs::read_to_string(path).with_context(|| path.display().to_string())
            });
            let body = body.transpose()?;
            let template = route.template(target, body.as_deref().map(str::trim));
            return Ok(Mix::of(Kind::Body, message("rest", template)));
        }
        if let Some(path) = &self.message {
            return Ok(Mix::of(
                Kind::JsonRpc,
                message("message", template_of(path)?),
            ));
        }
        if let Some(call) = self.call {
            let template = Template::new(call.text());
            return Ok(Mix::of(Kind::JsonRpc, message("call", template)));
        }
        let Some(bytes) = self.echo else {
            bail!("nothing to send");
        };
        let template = Template::new(&format!("$ID{}", "x".repeat(bytes as usize - 10)));
        Ok(Mix::of(Kind::Echo, message("echo", template)))
    }

    /// Whether requests are whole requests of HTTP.
    pub(crate) fn is_rest(&self) -> bool {
        self.rest.is_some()
    }

    pub(crate) fn is_echo(&self) -> bool {
        self.echo.is_some()
    }

    pub(crate) fn is_mix(&self) -> bool {
        self.mix.is_some()
    }

    /// Whether a session begins with `initialize`; the modern era has no handshake.
    pub(crate) fn needs_initialize(&self) -> bool {
        !self.is_echo() && !self.is_rest() && self.call != Some(Call::Discover)
    }
}
