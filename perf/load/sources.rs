//! Addresses that connections come from. One of them has as many ports to a server as the kernel gives
//! (`net.ipv4.ip_local_port_range`, 28,232 unless it is set otherwise); 127.0.0.0/8 (RFC 1122, 3.2.1.3) has
//! addresses enough for any number of agents.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::bail;
use clap::Args;

use crate::target::Target;

const SOURCES_MAX: i64 = 200;

/// How many addresses there are.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Sources {
    /// Connections come from so many loopback addresses in turn: 127.0.0.1, 127.0.0.2 and so on
    #[arg(long = "sources", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=SOURCES_MAX))]
    count: u32,
}

impl Sources {
    /// Whatever the kernel chooses.
    pub(crate) const ONE: Self = Self { count: 1 };

    /// Refuses a server that is not reached from there.
    pub(crate) fn check(self, target: &Target) -> anyhow::Result<()> {
        let address = target.address;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => Ok(()),
            _ if self.count == 1 => Ok(()),
            _ => bail!("--sources needs a server at 127.0.0.0/8, not at {address}"),
        }
    }

    /// The address of this connection, its port the kernel's choice; none if the kernel chooses both.
    pub(crate) fn address(self, connection: u32) -> Option<SocketAddr> {
        let place = connection % self.count;
        let ip = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + place);
        (self.count > 1).then(|| SocketAddr::from((ip, 0)))
    }
}

/// What an error of connecting means if all ports of an address are taken.
pub(crate) fn explained(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable => {
            let kind = error.kind();
            io::Error::new(kind, format!("{error}: more --sources have more ports"))
        }
        _ => error,
    }
}
