//! What is asked of the allocator beside memory: that it gives back to the system what nobody has in use.
//!
//! A hub of some dozen threads would have an arena of the allocator's for nearly each of them. What is freed stays there for the next who
//! asks. glibc gives the upper end of an arena back where more than so much of it is free, and raises that limit up to 64 MiB by what the
//! program once had mapped and freed; what is free in the middle, it gives back only when it is asked to (mallopt(3), malloc_trim(3)).
//!
//! Where the C library is another one, nothing is asked, and nothing is promised.
//!
//! # Promises the `unsafe` rests on
//! Both calls take numbers, may be made by any thread at any time, and touch no memory that is in use; `mallopt` is not made by two
//! threads at once, since it is made once, before there are others ([`be_moderate`]).
#![allow(unsafe_code)]

/// The upper end of an arena goes back when more than this is free there. Less would have busy sessions ask the system for the same
/// pages again and again.
const KEPT_AT_THE_END: i32 = 1 << 20;
/// Arenas for each processor: of the threads no more run at a time than there are processors.
const ARENAS: usize = 2;
/// What is larger is mapped by itself, and goes back when it is freed. The largest pieces of a message that pass through are a
/// mebibyte, and are not.
const MAPPED: i32 = (1 << 20) + (64 << 10);

/// Has the allocator keep little, whatever was asked of it before. For a program that runs for long, at its start, before it has other threads.
pub fn be_moderate() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let arenas = i32::try_from(processors.saturating_mul(ARENAS)).unwrap_or(i32::MAX);
        for (parameter, number) in [
            (libc::M_ARENA_MAX, arenas),
            (libc::M_TRIM_THRESHOLD, KEPT_AT_THE_END),
            (libc::M_MMAP_THRESHOLD, MAPPED),
        ] {
            // SAFETY: takes two numbers; refused with 0 where it does not know them, and then all is as it was.
            unsafe { libc::mallopt(parameter, number) };
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = (KEPT_AT_THE_END, MAPPED, ARENAS);
}

/// Gives back the pages that nobody has in use. Takes milliseconds for each ten megabytes, during which others who ask the same arena for
/// memory wait: for a calm moment. Whether there were any.
#[must_use]
pub fn give_back_pages() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: takes a number: how much is to be kept at the end of the first arena.
        unsafe { libc::malloc_trim(0) != 0 }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}
