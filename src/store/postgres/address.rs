//! Where PostgreSQL is, from a URL.

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::schema::OpenError;

/// What the connections are called in `pg_stat_activity`.
const APPLICATION: &str = "tmws";

/// Reads `url`, which may hold a password and is therefore repeated nowhere.
pub(super) fn parse(url: &str) -> Result<Config, OpenError> {
    let encrypts = ["sslmode=require", "sslmode=verify"];
    if encrypts.iter().any(|mode| url.contains(mode)) {
        return Err(OpenError::Encryption);
    }
    let mut config: Config = url
        .parse()
        .map_err(|error: tokio_postgres::Error| OpenError::Address(reason(&error)))?;
    if config.get_hosts().is_empty() {
        return Err(OpenError::Address("it names no host".into()));
    }
    if config.get_ssl_mode() == SslMode::Require {
        return Err(OpenError::Encryption);
    }
    config.application_name(APPLICATION);
    Ok(config)
}

fn reason(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_that_is_asked_for_is_not_left_out() {
        for url in [
            "postgres://a@db/x?sslmode=require",
            "postgres://a@db/x?sslmode=verify-full",
            "host=db user=a sslmode=require",
        ] {
            assert!(matches!(parse(url), Err(OpenError::Encryption)), "{url}");
        }
        assert!(parse("postgres://a:b@db:5433/x").is_ok());
        assert!(parse("postgres://a:b@db/x?sslmode=disable").is_ok());
    }

    #[test]
    fn a_bad_address_is_told_without_its_password() {
        for url in ["", "http://a:geheim@db/x", "postgres://a:geheim@db:port/x"] {
            let error = parse(url).unwrap_err().to_string();
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
