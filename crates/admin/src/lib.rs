//! The control socket: requests, replies, server and client.
