//! Channel plugin: delivery into maildirs.
