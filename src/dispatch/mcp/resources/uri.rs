//! The URIs of resources (SPEC 4.1).

use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use uuid::Uuid;

use crate::config::limits::URI_BYTES_MAX;
use crate::domain::AgentKey;

/// What a URI names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::dispatch::mcp) enum Resource {
    /// `memory://{namespace}/{id}`.
    Memory {
        /// Of its owner.
        namespace: Arc<str>,
        /// The memory.
        id: Uuid,
    },
    /// `memory://{namespace}/recent`.
    Recent {
        /// Of the owners.
        namespace: Arc<str>,
    },
    /// `test://watched-resource`, which never changes.
    #[cfg(feature = "conformance-fixture")]
    Watched,
    /// `agent://{id}`, of the reader's namespace.
    Agent {
        /// The agent.
        id: Arc<str>,
    },
}

impl Resource {
    /// What a URI names, if it is one of ours. Namespaces and agents may hold `/`, which clients
    /// escape or not.
    pub(in crate::dispatch::mcp) fn parse(uri: &str) -> Option<Self> {
        if uri.len() > URI_BYTES_MAX {
            return None;
        }
        let (scheme, rest) = uri.split_once("://")?;
        let name = |text: &str| {
            let text = percent_decode_str(text).decode_utf8().ok()?;
            // A name by the rules of agents, whichever it is.
            AgentKey::new(&text, "x").ok().map(|key| key.namespace)
        };
        match scheme {
            "memory" => {
                let (namespace, last) = rest.rsplit_once('/')?;
                let namespace = name(namespace)?;
                match last {
                    "recent" => Some(Self::Recent { namespace }),
                    id => Some(Self::Memory {
                        namespace,
                        id: Uuid::try_parse(id).ok()?,
                    }),
                }
            }
            "agent" => Some(Self::Agent { id: name(rest)? }),
            #[cfg(feature = "conformance-fixture")]
            "test" if rest == "watched-resource" => Some(Self::Watched),
            _ => None,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { namespace, id } => write!(f, "memory://{namespace}/{id}"),
            Self::Recent { namespace } => write!(f, "memory://{namespace}/recent"),
            Self::Agent { id } => write!(f, "agent://{id}"),
            #[cfg(feature = "conformance-fixture")]
            Self::Watched => f.write_str("test://watched-resource"),
        }
    }
}

/// Reads a URI and, if it names something, the one that is written for it; for the fuzz targets.
#[cfg(fuzzing)]
pub fn examine(uri: &str) {
    if let Some(resource) = Resource::parse(uri) {
        assert_eq!(Resource::parse(&resource.to_string()), Some(resource));
    }
}

#[cfg(test)]
mod tests {
    use super::Resource;

    #[test]
    fn a_uri_is_read_as_it_is_written_and_as_clients_escape_it() {
        for uri in [
            "memory://default/recent",
            "memory://team/a/recent",
            "memory://default/0199c0de-0000-7000-8000-000000000000",
            "agent://builder",
            "agent://org/builder@host:1",
        ] {
            let resource = Resource::parse(uri).expect(uri);
            assert_eq!(resource.to_string(), uri);
        }
        assert_eq!(
            Resource::parse("memory://team%2Fa/recent"),
            Resource::parse("memory://team/a/recent")
        );
        for uri in [
            "",
            "memory:",
            "memory://",
            "memory:///recent",
            "memory://a",
            "memory://a/b",
            "memory://a b/recent",
            "memory://a%00/recent",
            "memory://%ff/recent",
            "agent://",
            "task://1",
            "http://a/recent",
        ] {
            assert_eq!(Resource::parse(uri), None, "{uri}");
        }
        let long = format!("agent://{}", "a".repeat(600));
        assert_eq!(Resource::parse(&long), None);
    }
}
