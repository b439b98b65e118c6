//! The configuration language: text, what was written, what it means.
