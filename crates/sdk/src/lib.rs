//! What the author of a channel plugin uses.
