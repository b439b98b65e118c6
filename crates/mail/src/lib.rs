//! Addresses, envelopes, outcomes and status codes.
