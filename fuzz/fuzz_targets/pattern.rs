//! What the fuzzer makes up for `sluice_fuzz::pattern`, which says what is asserted.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzz::pattern(bytes));
