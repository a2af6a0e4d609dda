//! Where the kernel or a container's profile refuses io_uring, epoll serves.

use serde_json::json;

use crate::harness::{agent, launch};

/// Refuses `io_uring_setup` with EPERM, as container profiles do.
fn refuse_io_uring() -> std::io::Result<()> {
    const fn op(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        }
    }
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let filter = [
        // The number of the system call is the first word of seccomp's data.
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_io_uring_setup as u32,
        ),
        op(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program and its filter outlive the calls, which copy them.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

#[tokio::test]
async fn epoll_is_chosen_by_itself() {
    let server = launch(&[]).before(refuse_io_uring).start();
    assert_eq!(server.io, "epoll");
    let mut client = agent(&server, "a").await;
    assert_eq!(
        client.result("system/stats", json!({})).await["io"],
        "epoll"
    );
}

#[test]
fn an_explicit_wish_for_io_uring_is_not_overruled() {
    use std::os::unix::process::CommandExt;
    let data = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tmws"));
    command
        .args([
            "--io",
            "uring",
            "--api-port",
            "0",
            "--ws-port",
            "0",
            "--data-dir",
        ])
        .arg(data.path());
    // SAFETY: the closure only makes system calls.
    unsafe { command.pre_exec(refuse_io_uring) };
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--io auto"));
}

#[tokio::test]
async fn no_locked_memory_is_no_obstacle() {
    let server = launch(&["--io", "uring"])
        .before(|| {
            let limit = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: setrlimit reads the struct that it is given.
            match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        })
        .start();
    let mut client = agent(&server, "a").await;
    assert_eq!(client.result("ping", json!({})).await, json!({}));
}
