//! Plugin host: load, shake hands, run workers, contain failures.
