//! Fixtures for tests: sites, sinks, ports, a stepping clock.
#![forbid(unsafe_code)]
