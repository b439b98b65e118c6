//! Sources, spans and diagnostics as data.
