//! Exit codes, the same for every command.

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// Something failed while it ran.
    Failure = 1,
    /// The arguments or the configuration are wrong.
    Usage = 2,
    /// No server could be reached.
    Unreachable = 3,
    /// The server answered with an error.
    Refused = 4,
}

/// The table of `tmws --help`.
pub(super) const HELP: &str = "\
Exit codes:
  0  done
  1  something failed while it ran
  2  the arguments or the configuration are wrong
  3  no server could be reached
  4  the server answered with an error";
