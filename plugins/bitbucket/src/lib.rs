//! Channel plugin: delivers to nowhere.
