//! The core dispatcher: accept, route, queue, release, settle, notify.
