//! SMTP listeners and sessions.
