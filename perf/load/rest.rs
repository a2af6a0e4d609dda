//! Requests of plain HTTP: a method, a path, and a body if there is one, on a connection that is kept.

use std::str::FromStr;

use crate::target::Target;
use crate::template::Template;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    method: String,
    path: String,
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (method, path) = text
            .split_once(' ')
            .ok_or_else(|| format!("{text:?} is not \"METHOD /path\""))?;
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("{method:?} is no method"));
        }
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{path:?} is no path"));
        }
        Ok(Self {
            method: method.to_owned(),
            path: path.to_owned(),
        })
    }
}

impl Route {
    /// The whole request; path and body may have numbers to fill in, which do not change their lengths.
    pub(crate) fn template(&self, target: &Target, body: Option<&str>) -> Template {
        let (Self { method, path }, host) = (self, target.address);
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n");
        let text = match body {
            None => format!("{head}\r\n"),
            Some(body) => {
                let length = Template::new(body).len();
                format!(
                    "{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
                )
            }
        };
        Template::new(&text)
    }
}
