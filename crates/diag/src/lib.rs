//! Diagnostics as data: where something stands in a file ([`Sources`], [`Span`], [`Position`]), and what is to be said
//! about it ([`Diagnostic`], with its fixed [`Code`]).
//!
//! Every crate that reads what an operator wrote returns a list of diagnostics beside its result and goes on; nothing
//! here prints, and nothing here decides whether a mistake is fatal to the program. The plain text form made by
//! [`Diagnostic::render`] is the one in logs and tests.
//!
//! # Not here
//! Drawings of the line with carets below it, JSON, and exit codes: the binary makes them from the same data.
#![forbid(unsafe_code)]

mod diagnostic;
mod nearest;
mod source;

pub use diagnostic::{Code, Diagnostic, Severity, errors_in};
pub use nearest::{distance, nearest};
pub use source::{Position, SourceId, Sources, Span};
