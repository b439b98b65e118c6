//! What the fuzzer makes up for `sluice_fuzz::isolated`, which says what is asserted.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::isolated(bytes));
