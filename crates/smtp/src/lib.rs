//! SMTP without IO: commands, replies, server and client state machines.
