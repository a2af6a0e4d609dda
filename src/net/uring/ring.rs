//! The ring of provided buffers: the kernel takes from its head, we put back at its tail.
//!
//! ```text
//!        head (kernel)            tail (ours, published with release)
//!          v                        v
//!   +----+----+----+----+----+----+----+----+
//!   |    | b7 | b2 | b0 | b5 | b1 |    |    |   one 16-byte entry per buffer: address, length, id
//!   +----+----+----+----+----+----+----+----+
//! ```

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use super::super::pool::{Buffers, Region};
use super::super::{Lease, Settings};

pub(super) struct BufferRing {
    entries: Option<Region>,
    buffers: Option<Buffers>,
    tail: u16,
    mask: u16,
    lent: u16,
}

impl BufferRing {
    pub(super) fn register(ring: &IoUring, settings: Settings, group: u16) -> io::Result<Self> {
        if !settings.buffers.is_power_of_two() || settings.buffers > 32_768 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a buffer ring has a power of two of at most 32,768 buffers",
            ));
        }
        let entries = Region::new(usize::from(settings.buffers) * size_of::<BufRingEntry>());
        // SAFETY: the region is page-aligned, large enough for the entries, and outlives the ring
        // because the ring is declared before it in `Uring`.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                settings.buffers,
                group,
                0,
            )?;
        }
        let mut this = Self {
            entries: Some(entries),
            buffers: Some(Buffers::new(settings.buffers, settings.buffer_bytes)),
            tail: 0,
            mask: settings.buffers - 1,
            lent: 0,
        };
        for buffer in 0..settings.buffers {
            this.put(buffer);
        }
        Ok(this)
    }

    fn pool(&self) -> &Buffers {
        self.buffers.as_ref().expect("present until dropped")
    }

    pub(super) fn count(&self) -> u16 {
        self.pool().count()
    }

    pub(super) fn buffer_bytes(&self) -> u32 {
        self.pool().buffer_bytes()
    }

    /// Buffers that completions carried and nobody has released.
    pub(super) fn lent(&self) -> u16 {
        self.lent
    }

    pub(super) fn lend(&mut self) {
        self.lent += 1;
    }

    pub(super) fn slice(&mut self, buffer: u16, bytes: u32) -> &mut [u8] {
        self.buffers
            .as_mut()
            .expect("present until dropped")
            .slice(buffer, bytes)
    }

    pub(super) fn release(&mut self, buffer: u16) {
        self.lent -= 1;
        self.put(buffer);
    }

    pub(super) fn release_lease(&mut self, lease: Option<Lease>) {
        if let Some(lease) = lease {
            self.release(lease.buffer);
        }
    }

    /// Gives the memory to the kernel for good.
    pub(super) fn leak(&mut self) {
        std::mem::forget((self.entries.take(), self.buffers.take()));
    }

    fn put(&mut self, buffer: u16) {
        let pool = self.pool();
        let (address, length) = (pool.address(buffer), pool.buffer_bytes());
        let base = self
            .entries
            .as_ref()
            .expect("present until dropped")
            .as_ptr();
        let base = base.cast::<BufRingEntry>();
        // SAFETY: the index is masked to the ring's size. The kernel reads only entries before
        // the tail, and this one lies at the tail, since there are as many entries as buffers.
        let entry = unsafe { &mut *base.add(usize::from(self.tail & self.mask)) };
        entry.set_addr(address as u64);
        entry.set_len(length);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry's reserved field, aligned for u16, and only
        // this thread writes it; the kernel reads it atomically.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
