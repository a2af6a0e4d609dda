//! MCP's streamable HTTP as a client speaks it: a POST for each message on a connection that is kept,
//! answers as JSON or as a stream of events.

use memchr::memmem;

use crate::target::Target;

/// More header lines than any MCP server sends.
const HEADERS_MAX: usize = 64;

/// The revision that `initialize` asks for, which requests after it repeat.
const REVISION: &str = "2025-11-25";

/// The head of every POST of a connection, up to the length of its message.
pub(crate) struct Head {
    target: Target,
    lines: Vec<u8>,
}

impl Head {
    /// Before there is a session.
    pub(crate) fn new(target: &Target) -> Self {
        let mut head = Self {
            target: target.clone(),
            lines: Vec::new(),
        };
        head.lay_out("");
        head
    }

    /// From now on requests name the session and the revision.
    pub(crate) fn join(&mut self, session: &str) {
        self.lay_out(&format!(
            "Mcp-Session-Id: {session}\r\nMcp-Protocol-Version: {REVISION}\r\n"
        ));
    }

    fn lay_out(&mut self, more: &str) {
        let Target { address, path, .. } = &self.target;
        self.lines = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n{more}Content-Length: "
        )
        .into_bytes();
    }

    /// Appends a request.
    pub(crate) fn write(&self, out: &mut Vec<u8>, message: &[u8]) {
        out.extend_from_slice(&self.lines);
        out.extend_from_slice(message.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(message);
    }
}

/// A whole response.
pub(crate) struct Response {
    /// Head and body.
    pub(crate) bytes: usize,
    /// The session that it begins.
    pub(crate) session: Option<String>,
    /// The message that it carries; none if the server has only taken note.
    pub(crate) message: Option<Vec<u8>>,
}

/// The response at the beginning of `bytes`, if all of it is there. Whatever is no success is an error.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<Response>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes).map_err(|error| error.to_string())? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.unwrap_or_default();
    let header = |name: &str| {
        let found = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let rest = &bytes[head..];
    let chunked = header("transfer-encoding").is_some_and(|how| how.contains("chunked"));
    let body = if chunked {
        unchunk(rest)?
    } else {
        let length = match header("content-length") {
            Some(length) => length.parse().map_err(|_| "a length that is no number")?,
            None if status == 202 || status == 204 => 0,
            None => return Err("a response without its length".to_owned()),
        };
        rest.get(..length).map(|body| (body.to_vec(), length))
    };
    let Some((body, length)) = body else {
        return Ok(None);
    };
    let message = match status {
        202 | 204 => None,
        200 if header("content-type").is_some_and(|kind| kind.contains("event-stream")) => {
            Some(last_event(&body)?)
        }
        200 => Some(body),
        _ => return Err(format!("{status}: {}", String::from_utf8_lossy(&body))),
    };
    Ok(Some(Response {
        bytes: head + length,
        session: header("mcp-session-id").map(str::to_owned),
        message,
    }))
}

/// A chunked body (RFC 9112, 7.1) and the bytes that it took, if its end is there. No trailers are expected.
fn unchunk(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut used) = (Vec::new(), 0);
    loop {
        let Some(line) = memmem::find(&bytes[used..], b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&bytes[used..used + line])
            .ok()
            .and_then(|size| usize::from_str_radix(size, 16).ok())
            .ok_or("a chunk without its size")?;
        let start = used + line + 2;
        let end = start.checked_add(size).ok_or("an endless chunk")?;
        let Some(chunk) = bytes.get(start..end) else {
            return Ok(None);
        };
        match bytes.get(end..end + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err("a chunk without its end".to_owned()),
            None => return Ok(None),
        }
        body.extend_from_slice(chunk);
        used = end + 2;
        if size == 0 {
            return Ok(Some((body, used)));
        }
    }
}

/// Data of the last event that has some: the answer ends its stream.
fn last_event(body: &[u8]) -> Result<Vec<u8>, String> {
    body.rsplit(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"data:"))
        .map(<[u8]>::trim_ascii)
        .find(|data| !data.is_empty())
        .map(<[u8]>::to_vec)
        .ok_or_else(|| "a stream without an answer".to_owned())
}
