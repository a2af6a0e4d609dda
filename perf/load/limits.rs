//! How many connections this process may have.

use std::io;

use anyhow::bail;

/// Connections of one load: 100,000 agents and some to spare. More than one address has ports for needs
/// [`Sources`](crate::sources::Sources).
pub(crate) const CONNECTIONS_MAX: i64 = 110_000;

/// Raises the soft limit as far as the hard one allows, if it must.
pub(crate) fn open_files_at_least(needed: usize) -> anyhow::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live rlimit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    let needed = needed as u64;
    if limit.rlim_cur >= needed {
        return Ok(());
    }
    if limit.rlim_max < needed {
        bail!("{needed} open files are needed, {} allowed", limit.rlim_max);
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a live rlimit.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(())
}
