//! Channel plugin: SMTP client over TCP.
