//! The hostile fixture: a channel plugin that fails in every way.
