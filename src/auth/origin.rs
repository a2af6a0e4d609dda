//! Host and Origin allow lists: a page of another site must not reach the server through a
//! visitor's browser (DNS rebinding, cross-site WebSocket hijacking).

use std::net::{IpAddr, SocketAddr};

use crate::config::Config;
use crate::rpc::{Condition, Fault};

/// Which hosts the server answers to, and which origins may ask.
#[derive(Debug, Clone)]
pub struct Origins {
    hosts: Vec<String>,
    origins: Vec<String>,
    bound: Vec<IpAddr>,
}

impl Origins {
    /// The lists of a configuration.
    pub fn new(config: &Config) -> Self {
        let lower = |texts: &[String]| texts.iter().map(|text| text.to_ascii_lowercase()).collect();
        Self {
            hosts: lower(&config.hosts),
            origins: lower(&config.origins),
            bound: [Some(config.api), config.ws]
                .into_iter()
                .flatten()
                .map(|address| address.ip())
                .collect(),
        }
    }

    /// Checks a request's Host and Origin.
    pub fn check(&self, host: Option<&str>, origin: Option<&str>) -> Result<(), Fault> {
        let Some(host) = host else {
            return Err(Fault::new(
                Condition::InvalidRequest,
                "the Host field is missing",
            ));
        };
        let host = host.to_ascii_lowercase();
        if !self.is_known_host(&host) {
            return Err(Fault::new(
                Condition::SecurityViolation,
                "the Host is not one of this server's; TMWS_ALLOWED_HOSTS lists more",
            ));
        }
        match origin {
            Some(origin) if !self.is_known_origin(&origin.to_ascii_lowercase(), &host) => {
                Err(Fault::new(
                    Condition::SecurityViolation,
                    "the Origin is not allowed; TMWS_CORS_ORIGINS lists those that are",
                ))
            }
            _ => Ok(()),
        }
    }

    /// True if pages of this origin may read answers: it is listed.
    pub fn is_listed(&self, origin: &str) -> bool {
        self.origins
            .iter()
            .any(|known| known == "*" || known.eq_ignore_ascii_case(origin))
    }

    fn is_known_host(&self, host: &str) -> bool {
        let name = without_port(host);
        if name == "localhost"
            || self
                .hosts
                .iter()
                .any(|known| known == host || known == name)
        {
            return true;
        }
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        let Ok(ip) = literal.parse::<IpAddr>() else {
            return false;
        };
        // A literal address cannot be rebound, so it is fine wherever the server listens for all.
        ip.is_loopback()
            || self
                .bound
                .iter()
                .any(|bound| *bound == ip || bound.is_unspecified())
    }

    fn is_known_origin(&self, origin: &str, host: &str) -> bool {
        let own = ["http://", "https://"]
            .into_iter()
            .filter_map(|scheme| origin.strip_prefix(scheme))
            .any(|authority| authority == host);
        own || self.is_listed(origin)
    }
}

fn without_port(host: &str) -> &str {
    if host.parse::<SocketAddr>().is_ok() || !host.starts_with('[') {
        return host.rsplit_once(':').map_or(host, |(name, _)| name);
    }
    host
}

#[cfg(test)]
mod tests {
    use super::{Origins, without_port};

    fn origins(hosts: &[&str], origins: &[&str], bound: &[&str]) -> Origins {
        Origins {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            bound: bound
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
        }
    }

    #[test]
    fn loopback_names_are_known_and_others_are_not() {
        let known = origins(&[], &[], &["127.0.0.1"]);
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "127.0.0.1:8001",
            "127.8.8.8",
            "[::1]:8000",
            "[::1]",
        ] {
            assert!(known.check(Some(host), None).is_ok(), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8000",
            "10.0.0.1",
            "",
            "127.0.0.1.evil.example",
        ] {
            assert!(known.check(Some(host), None).is_err(), "{host}");
        }
        assert!(known.check(None, None).is_err());
    }

    #[test]
    fn listed_hosts_and_bound_addresses_are_known() {
        let known = origins(&["memory.example"], &[], &["10.1.2.3"]);
        assert!(known.check(Some("memory.example:8443"), None).is_ok());
        assert!(known.check(Some("10.1.2.3:8000"), None).is_ok());
        assert!(known.check(Some("10.1.2.4:8000"), None).is_err());
        assert!(
            origins(&[], &[], &["0.0.0.0"])
                .check(Some("10.1.2.4:8000"), None)
                .is_ok()
        );
        assert!(
            origins(&[], &[], &["0.0.0.0"])
                .check(Some("evil.example"), None)
                .is_err()
        );
    }

    #[test]
    fn an_origin_is_the_servers_own_or_listed() {
        let known = origins(&[], &["https://app.example"], &["127.0.0.1"]);
        let check = |origin| known.check(Some("localhost:8000"), Some(origin)).is_ok();
        assert!(check("http://localhost:8000"));
        assert!(check("https://APP.example"));
        for origin in [
            "http://localhost:3000",
            "https://app.example.evil",
            "null",
            "http://evil.example",
            "",
        ] {
            assert!(!check(origin), "{origin}");
        }
    }

    #[test]
    fn ports_are_cut_from_names_and_addresses() {
        for (host, name) in [
            ("a:1", "a"),
            ("a", "a"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("1.2.3.4:5", "1.2.3.4"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
