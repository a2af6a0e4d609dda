//! The allocator of the server, with a count of what this thread asks of it, and of where it does.

use std::alloc::{GlobalAlloc, Layout};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::ops::Sub;

use mimalloc::MiMalloc;

/// mimalloc, counted.
pub(crate) struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
    /// Requests whose place is still to be noted; those of the noting itself are not.
    static TO_TRACE: Cell<usize> = const { Cell::new(0) };
    static TRACES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note(bytes: usize) {
    // A thread that ends allocates after its counts are gone; nobody counts there.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    let _ = BYTES.try_with(|sum| sum.set(sum.get() + bytes as u64));
    let left = TO_TRACE.try_with(|left| left.replace(0)).unwrap_or(0);
    if left > 0 {
        let trace = format!("{bytes} bytes\n{}", Backtrace::force_capture());
        TRACES.with_borrow_mut(|traces| traces.push(trace));
        TO_TRACE.set(left - 1);
    }
}

/// Where the first few requests come from that `round` makes.
pub(crate) fn traces(few: usize, round: impl FnOnce()) -> Vec<String> {
    TO_TRACE.set(few);
    round();
    TO_TRACE.set(0);
    TRACES.take()
}

// SAFETY: every call goes to mimalloc as it came; what is counted beside it needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { MiMalloc.realloc(old, layout, bytes) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { MiMalloc.dealloc(old, layout) }
    }
}

/// What this thread has asked for so far: requests and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Count {
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
}

impl Count {
    pub(crate) const MAX: Self = Self {
        calls: u64::MAX,
        bytes: u64::MAX,
    };

    pub(crate) fn now() -> Self {
        Self {
            calls: CALLS.get(),
            bytes: BYTES.get(),
        }
    }
}

impl Sub for Count {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            calls: self.calls - other.calls,
            bytes: self.bytes - other.bytes,
        }
    }
}
