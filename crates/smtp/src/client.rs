//! The client's side of an SMTP connection, without IO.
