//! Equal receive buffers, allocated once.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Page-aligned memory that stays where it is: the kernel writes into it.
pub(super) struct Region {
    start: NonNull<u8>,
    layout: Layout,
}

/// x86-64 and most AArch64 kernels; a buffer ring must start on a page.
const PAGE_BYTES: usize = 4096;

impl Region {
    pub(super) fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes.max(PAGE_BYTES), PAGE_BYTES)
            .expect("sizes are bounded by configuration");
        // SAFETY: the layout has a size above zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(layout)
        };
        Self { start, layout }
    }

    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// `count` buffers of `buffer_bytes` each in one region.
pub(super) struct Buffers {
    region: Region,
    count: u16,
    buffer_bytes: u32,
}

impl Buffers {
    pub(super) fn new(count: u16, buffer_bytes: u32) -> Self {
        Self {
            region: Region::new(usize::from(count) * buffer_bytes as usize),
            count,
            buffer_bytes,
        }
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    pub(super) fn buffer_bytes(&self) -> u32 {
        self.buffer_bytes
    }

    pub(super) fn address(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < self.count, "a buffer of this pool");
        // SAFETY: the offset lies inside the region because the index lies below the count.
        unsafe {
            self.region
                .as_ptr()
                .add(usize::from(buffer) * self.buffer_bytes as usize)
        }
    }

    /// The first `bytes` of a buffer that the kernel does not hold.
    pub(super) fn slice(&mut self, buffer: u16, bytes: u32) -> &mut [u8] {
        let bytes = bytes.min(self.buffer_bytes) as usize;
        // SAFETY: the region was zeroed when it was made, so every byte is initialised; the
        // range lies in one buffer; `&mut self` and the lease keep it the only reference, and
        // the kernel has given the buffer up until it is released.
        unsafe { std::slice::from_raw_parts_mut(self.address(buffer), bytes) }
    }
}
