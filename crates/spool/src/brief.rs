//! Lists that are large and live briefly: copies for a checkpoint, what a start finds.
//!
//! glibc keeps what is given back for the next who asks, unless it was mapped by itself; and once a piece was mapped and given back,
//! it maps only larger ones, up to 32 MiB (mallopt(3), `M_MMAP_THRESHOLD`). A list of some tens of megabytes that is made once
//! would so stay the hub's for ever. What is larger than that is always mapped, and pages that are not used cost nothing: so a list
//! that is large is asked for larger.

/// From here on a piece of memory is mapped by itself, whatever came before.
const ALWAYS_MAPPED: usize = (32 << 20) + (64 << 10);
/// Below this it does not matter.
const LARGE: usize = 1 << 20;

/// An empty list with room for so many, whose memory goes back to the system with it when it is large.
#[must_use]
pub fn brief_list<T>(len: usize) -> Vec<T> {
    let size = size_of::<T>().max(1);
    if len.saturating_mul(size) < LARGE {
        return Vec::with_capacity(len);
    }
    Vec::with_capacity(len.max(ALWAYS_MAPPED.div_ceil(size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_lists_are_larger_than_what_is_kept() {
        assert_eq!(brief_list::<u64>(100).capacity(), 100);
        assert!(brief_list::<u64>(1 << 18).capacity() * 8 >= ALWAYS_MAPPED);
        assert!(brief_list::<u64>(8 << 20).capacity() >= 8 << 20);
    }
}
